"""Which moment is scored by itself, and which carries the score of one before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smvae_core.fusion.rules import SuspicionRule
from smvae_core.novelty.renewed import OLDEST_S, RENEWED_S, Asked, RenewedNovelty, Score
from smvae_core.novelty.scorer import NoveltyReport, NoveltyScorer
from tests.accused import FED, Desk, plain_bundle, scoring_bundle

T0 = 10**15
REPORT = NoveltyReport(
    score=1.5, surprises={"a": 1.5}, nll={"rgb": 2.0}, decoded={"rgb": np.zeros(3, np.float32)}
)


def asked(
    at_s: float, *subset: str, epoch: int = 1, memory: bool = False, leave_out: bool = True
) -> Asked:
    return Asked(epoch, T0 + round(at_s * 1e9), subset, memory, leave_out)


def begun(*subset: str) -> RenewedNovelty:
    """Return what has scored a moment."""
    renewed, first = RenewedNovelty(), asked(0.0, *subset)
    assert renewed.of(first) is None, "nothing is known yet"
    renewed.keep(Score(asked=first, report=REPORT, left_out={"depth": "why"}))
    return renewed


def test_moments_that_follow_closely_carry_the_score_its_stamp_and_who_is_left_out() -> None:
    carried = begun("rgb", "force").of(asked(0.002, "rgb", "force"))
    assert carried is not None
    assert carried.stamp_ns == T0
    assert carried.left_out == {"depth": "why"}
    assert (carried.report.score, carried.report.nll) == (1.5, {"rgb": 2.0})
    assert carried.report.decoded == {}, "what was decoded is of another latent"


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(asked(0.002, "force"), id="other sensors"),
        pytest.param(asked(0.002, "rgb", "force", epoch=2), id="another epoch"),
        pytest.param(asked(0.002, "rgb", "force", memory=True), id="with memory"),
        pytest.param(asked(0.002, "rgb", "force", leave_out=False), id="suspects stay in"),
        pytest.param(asked(-0.002, "rgb", "force"), id="an earlier moment"),
        pytest.param(asked(RENEWED_S, "rgb", "force"), id="long after the one before"),
    ],
)
def test_a_moment_for_which_no_score_fits_gets_its_own(after: Asked) -> None:
    assert begun("rgb", "force").of(after) is None


def test_no_moment_carries_a_score_that_is_too_old() -> None:
    """Whoever scores beside is late: the latent is scored at once."""
    renewed = begun("force")
    ages = [step * 0.01 for step in range(1, 13)]
    carried = [renewed.of(asked(age, "force")) is not None for age in ages]
    assert carried == [age <= OLDEST_S for age in ages]


def test_a_score_is_renewed_once_in_its_time() -> None:
    renewed = begun("force")
    due = [renewed.due(T0 + 2_000_000 * k) for k in range(1, 46)]
    assert [k for k, asked in enumerate(due, start=1) if asked] == [15, 30, 45]


def test_a_score_of_beside_leaves_out_who_makes_a_moment_novel(tmp_path: Path) -> None:
    """By what was observed then, whatever is observed since."""
    pytest.importorskip("torch")
    odd = scoring_bundle(
        plain_bundle(tmp_path / "plain"), tmp_path / "odd", lambda s: 9.0 if "rgb" in s else 0.5
    )
    desk = Desk(odd, SuspicionRule(leave_out=True))
    own = desk.see().score
    snapshot = desk.runtime.snapshot(NoveltyScorer())
    desk.runtime.forget("depth")
    renewed = RenewedNovelty()
    renewed.renew(asked(0.0, *FED), snapshot)
    beside = renewed.of(asked(0.0, *FED)) or renewed.of(asked(0.001, *FED))
    assert beside is not None
    assert (beside.left_out, beside.report.score) == (own.left_out, 0.5)
    assert tuple(beside.left_out) == ("rgb",)
