"""Who is left out of a novel set: the one without which it is not, and nobody by guess."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from smvae_core.bundle import Bundle
from smvae_core.fusion.rules import FusionRule, FusionState, SuspicionRule
from smvae_core.novelty.odd_ones_out import rest, scored
from smvae_core.runtime import Runtime
from tests.accused import FED, Desk, plain_bundle, scoring_bundle
from tests.remembering import NAMES, remembering_bundle
from tests.remembering import Desk as RememberingDesk

Score = Callable[[tuple[str, ...]], float]
LEAVE_OUT = SuspicionRule(leave_out=True)


def novel_with(*odd: str) -> Score:
    """Every set that holds one of these sensors is novel."""
    return lambda subset: 9.0 if set(odd) & set(subset) else 0.5


def contradicting(one: str, other: str, without_one: float, without_other: float) -> Score:
    """A set with both is novel; without either it has these scores."""

    def score(subset: tuple[str, ...]) -> float:
        if one in subset and other in subset:
            return 9.0
        return without_one if other in subset else without_other

    return score


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_bundle(tmp_path_factory.mktemp("bundle") / "plain")


@pytest.fixture
def desk(plain: Path, tmp_path: Path) -> Any:
    def make(score: Score, rule: SuspicionRule = LEAVE_OUT) -> Desk:
        return Desk(scoring_bundle(plain, tmp_path / "scoring", score), rule)

    return make


@pytest.mark.parametrize("odd", FED)
def test_who_makes_a_set_novel_is_left_out_and_the_rest_is_as_if_it_were_lost(
    desk: Any, odd: str
) -> None:
    bench = desk(novel_with(odd))
    perceived = bench.see()
    rest = tuple(n for n in FED if n != odd)
    assert perceived.observation.subset == perceived.subset == rest
    assert perceived.novelty.score == 0.5
    expected = bench.runtime.posterior(rest)
    np.testing.assert_array_equal(perceived.posterior.mean, expected.mean)
    np.testing.assert_array_equal(perceived.posterior.log_var, expected.log_var)
    status = perceived.observation.status
    assert status[odd].state is FusionState.REJECTED
    assert status[odd].suspect
    assert status[odd].reason.startswith("suspect: the set is novel (")
    assert status[odd].reason.endswith(f"without {odd} it is not; left out (leave_out_suspects)")
    for name in rest:
        assert (status[name].state, status[name].suspect) == (FusionState.FUSED, False)
        assert status[name].reason == ""


def test_switched_off_the_set_stays_whole_and_nothing_more_is_scored(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = desk(novel_with("rgb"), SuspicionRule())
    scored: list[Any] = []
    report = bench.runtime.novelty_report
    monkeypatch.setattr(
        bench.runtime, "novelty_report", lambda s, p: scored.append(s) or report(s, p)
    )
    perceived = bench.see()
    assert perceived.observation.subset == FED
    assert perceived.novelty.score == 9.0
    assert not perceived.observation.status["rgb"].suspect
    assert scored == [FED]


def test_of_a_set_that_is_not_novel_nobody_is_left_out_and_nothing_more_is_scored(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = desk(lambda subset: 3.0 if subset == FED else 0.0)
    scored: list[Any] = []
    report = bench.runtime.novelty_report
    monkeypatch.setattr(
        bench.runtime, "novelty_report", lambda s, p: scored.append(s) or report(s, p)
    )
    assert bench.see().observation.subset == FED
    assert scored == [FED]


def test_of_two_that_contradict_each_other_none_is_left_out_and_both_say_so(desk: Any) -> None:
    perceived = desk(contradicting("rgb", "depth", 0.5, 0.7)).see()
    assert perceived.observation.subset == FED
    assert perceived.novelty.score == 9.0
    status = perceived.observation.status
    for name in ("rgb", "depth"):
        assert not status[name].suspect
        assert (
            "without rgb or depth it is not; which is wrong cannot be told" in status[name].reason
        )
    assert status["action"].reason == ""


def test_of_two_the_one_is_left_out_without_which_alone_the_set_is_ordinary(desk: Any) -> None:
    perceived = desk(contradicting("rgb", "depth", 0.5, 2.5)).see()
    assert perceived.observation.subset == ("depth", "action")


def test_a_world_that_is_novel_to_most_is_no_fault_of_theirs(desk: Any) -> None:
    perceived = desk(novel_with("rgb", "depth")).see()
    assert perceived.observation.subset == FED
    assert perceived.novelty.score == 9.0
    assert not any(s.suspect for s in perceived.observation.status.values())


def test_of_two_sensors_one_may_go_and_a_single_one_stays(desk: Any) -> None:
    bench = desk(novel_with("rgb"))
    assert bench.see(("rgb", "depth")).observation.subset == ("depth",)
    assert bench.see(("rgb",), count=6).observation.subset == ("rgb",)


def test_whoever_was_left_out_is_tried_first_and_comes_back_when_it_fits(
    desk: Any, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = desk(novel_with("rgb"))
    bench.see()
    scored: list[Any] = []
    report = bench.runtime.novelty_report
    monkeypatch.setattr(
        bench.runtime, "novelty_report", lambda s, p: scored.append(s) or report(s, p)
    )
    bench.see()
    assert scored == [FED, ("depth", "action")]
    healed = scoring_bundle(plain, tmp_path / "healed", lambda subset: 0.0)
    monkeypatch.setattr(bench.runtime, "bundle", Bundle.load(healed))
    assert bench.see().observation.subset == FED


class Scripted:
    """A runtime of many sensors that gives the sets scores, and counts how many it scored."""

    def __init__(self, runtime: Runtime, score: Score) -> None:
        self._runtime, self._score = runtime, score
        self.scored = 0

    @property
    def manifest(self) -> Any:
        return self._runtime.manifest

    def posteriors(self, subsets: Any) -> Any:
        return self._runtime.posteriors([FED] * len(subsets))

    def novelty_report(self, subset: Any, posterior: Any) -> Any:
        from smvae_core.novelty.scorer import NoveltyReport

        self.scored += 1
        surprises = {f"set/reconstruction/{n}": -float(n[1:]) for n in subset}
        return NoveltyReport(score=self._score(tuple(subset)), surprises=surprises, nll={})


@pytest.mark.parametrize("odd", [("s1",), ("s0", "s3")])
def test_of_many_sensors_one_or_two_are_found_in_few_tries(desk: Any, odd: Any) -> None:
    bench = desk(novel_with("rgb"))
    bench.see()

    def score(subset: tuple[str, ...]) -> float:
        return 4.0 * len(set(odd) & set(subset))

    scripted = Scripted(bench.runtime, score)
    whole = scored(scripted, [f"s{k}" for k in range(16)])
    found = rest(scripted, whole)
    assert tuple(found.left_out) == odd
    assert len(found.scored.subset) == 16 - len(odd)
    assert scripted.scored <= 13
    rest(scripted, whole, odd)
    assert scripted.scored <= 14, "while the same are left out, one set is scored"


def test_three_of_many_are_not_left_out(desk: Any) -> None:
    bench = desk(novel_with("rgb"))
    bench.see()
    scripted = Scripted(bench.runtime, novel_with("s0", "s1", "s2"))
    whole = scored(scripted, [f"s{k}" for k in range(16)])
    assert rest(scripted, whole).left_out == {}


def test_with_a_memory_the_sample_is_left_out_and_what_it_said_before_still_counts(
    tmp_path: Path,
) -> None:
    def score(subset: tuple[str, ...]) -> float:
        return 9.0 if "rgb" in subset and "depth" not in subset else 0.5

    path = scoring_bundle(remembering_bundle(tmp_path / "plain"), tmp_path / "scoring", score)
    given = {"left out": ("rgb", "force", "action"), "lost": ("force", "action")}
    seen = {}
    for case, names in given.items():
        exact = FusionRule(max_skew_s=0.02, max_age_s=0.15)
        bench = RememberingDesk(Runtime(path), rgb=exact)
        bench.perceiver.configure(bench.sources, 5.0, suspicion=LEAVE_OUT)
        for _ in range(3):
            assert not bench.see(*NAMES).observation.status["rgb"].suspect
        for _ in range(2):  # the last depth image still counts
            bench.see("rgb", "force", "action")
        seen[case] = bench.see(*names)
    rgb = seen["left out"].observation.status["rgb"]
    assert rgb.state is FusionState.REMEMBERED
    assert (rgb.suspect, rgb.elements) == (True, 5)
    assert rgb.reason.endswith("left out (leave_out_suspects)")
    assert seen["left out"].subset == NAMES
    for part in ("mean", "log_var"):
        one, other = (getattr(seen[case].posterior, part) for case in given)
        np.testing.assert_array_equal(one, other)
