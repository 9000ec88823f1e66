"""Which latent is scored by itself, and which carries the score of one before it."""

from __future__ import annotations

import numpy as np
import pytest

from smvae_core.fusion.rules import Observation
from smvae_core.novelty_scorer import NoveltyReport
from smvae_core.perceiver import Perceived
from smvae_core.renewed_novelty import OLDEST_S, RENEWED_S, RenewedNovelty
from smvae_core.runtime import Posterior

T0 = 10**15
REPORT = NoveltyReport(
    score=1.5, surprises={"a": 1.5}, nll={"rgb": 2.0}, decoded={"rgb": np.zeros(3, np.float32)}
)


def latent(at_s: float, *subset: str, memory_s: float = 0.0) -> Perceived:
    observation = Observation(
        reference_ns=T0 + round(at_s * 1e9), samples=dict.fromkeys(subset, 0), status={}
    )
    zeros = np.zeros(2, np.float32)
    return Perceived(observation=observation, posterior=Posterior(zeros, zeros), memory_s=memory_s)


def test_latents_that_follow_closely_carry_the_score_and_its_stamp() -> None:
    renewed = RenewedNovelty()
    first = latent(0.0, "rgb", "force")
    assert renewed.of(1, first) is None, "nothing is known yet"
    assert renewed.keep(1, first, REPORT).report is REPORT
    carried = renewed.of(1, latent(0.002, "rgb", "force"))
    assert carried is not None
    assert carried.stamp_ns == T0
    assert (carried.report.score, carried.report.nll) == (1.5, {"rgb": 2.0})
    assert carried.report.decoded == {}, "what was decoded is of another latent"


@pytest.mark.parametrize(
    ("epoch", "after"),
    [
        pytest.param(1, latent(0.002, "force"), id="other sensors"),
        pytest.param(2, latent(0.002, "rgb", "force"), id="another epoch"),
        pytest.param(1, latent(0.002, "rgb", "force", memory_s=5.0), id="with memory"),
        pytest.param(1, latent(-0.002, "rgb", "force"), id="an earlier moment"),
        pytest.param(1, latent(RENEWED_S, "rgb", "force"), id="long after the one before"),
    ],
)
def test_a_latent_for_which_no_score_fits_gets_its_own(epoch, after) -> None:
    renewed = RenewedNovelty()
    first = latent(0.0, "rgb", "force")
    renewed.of(1, first)
    renewed.keep(1, first, REPORT)
    assert renewed.of(epoch, after) is None


def test_no_latent_carries_a_score_that_is_too_old() -> None:
    """Whoever scores beside is late: the latent is scored at once."""
    renewed = RenewedNovelty()
    first = latent(0.0, "force")
    renewed.of(1, first)
    renewed.keep(1, first, REPORT)
    ages = [step * 0.01 for step in range(1, 13)]
    carried = [renewed.of(1, latent(age, "force")) is not None for age in ages]
    assert carried == [age <= OLDEST_S for age in ages]


def test_a_score_is_renewed_once_in_its_time() -> None:
    renewed = RenewedNovelty()
    first = latent(0.0, "force")
    renewed.of(1, first)
    renewed.keep(1, first, REPORT)
    due = [renewed.due(latent(0.002 * k, "force")) for k in range(1, 46)]
    assert [k for k, asked in enumerate(due, start=1) if asked] == [15, 30, 45]
