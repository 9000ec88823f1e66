"""What a moment says with a memory: who is fused, who is remembered, and what is forgotten when."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from smvae_core.bundle import Bundle
from smvae_core.fusion.rules import FusionRule, FusionState
from smvae_core.messages import ConversionOptions
from smvae_core.perceiver import Perceived
from smvae_core.runtime import Runtime
from tests.remembering import AS_IT_IS, NAMES, T0, Desk, remembering_bundle

FROZEN = Path(__file__).parents[1] / "frozen" / "bundle"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    novelty = Bundle.load(FROZEN).manifest.novelty
    return remembering_bundle(tmp_path_factory.mktemp("memory") / "bundle", novelty)


@pytest.fixture
def runtime(path: Path) -> Runtime:
    return Runtime(path)


def same(perceived: Perceived, posterior: Any, tolerance: float = 1e-5) -> bool:
    mean = np.abs(perceived.posterior.mean - posterior.mean).max()
    log_var = np.abs(perceived.posterior.log_var - posterior.log_var).max()
    return bool(max(mean, log_var) <= tolerance)


def test_a_first_moment_is_what_its_instant_says(runtime: Runtime) -> None:
    desk = Desk(runtime)
    seen = desk.see(*NAMES)
    assert same(seen, desk.instant(seen))
    assert seen.memory_s == 5.0
    assert not same(desk.see(*NAMES), desk.instant(seen)), "the first one counts too"


def test_memory_of_zero_is_the_instant_bit_by_bit(runtime: Runtime) -> None:
    desk = Desk(runtime, 0.0)
    for _ in range(3):
        seen = desk.see("force", "action")
        assert same(seen, desk.instant(seen), 0.0)
        assert seen.memory_s == 0.0
        assert seen.subset == ("force", "action")


def test_a_sample_that_reads_as_no_number_is_refused_and_spoils_nothing(runtime: Runtime) -> None:
    """Held in the belief it would silence the robot until somebody resets it."""
    desk = Desk(runtime)
    desk.see("force", "action")
    desk.now_s += 0.05
    desk.add("force")
    huge = np.full(4, 1e38, np.float32)
    desk.collector.add("action", T0 + round(desk.now_s * 1e9), huge, desk.now_s)
    spoiled = desk.look()
    assert spoiled is not None
    assert tuple(spoiled.observation.samples) == ("force",)
    assert "no finite number" in spoiled.observation.status["action"].reason
    assert spoiled.finite
    assert desk.see("force", "action").finite


def test_a_belief_that_is_no_number_is_not_kept(runtime: Runtime) -> None:
    """A number may be too large for the graph alone, which is float32."""
    desk, recall = Desk(runtime), runtime.recall
    assert recall is not None
    desk.see("force", "action")
    large = recall.read(
        NAMES.index("action"), 1 + T0 + round(desk.now_s * 1e9), np.ones(32, np.float32)
    )
    recall.memory.insert(large._replace(mean=np.full(8, 1e300)))
    with np.errstate(over="ignore"):
        assert not desk.see("force", "action").finite, "said once"
    assert desk.see("force", "action").finite


def test_a_lost_camera_is_remembered_and_says_since_when(runtime: Runtime) -> None:
    desk = Desk(runtime)
    stamps = [desk.see(*NAMES).observation.reference_ns for _ in range(3)]
    for _ in range(6):
        seen = desk.see("force", "action")
    rgb, force = seen.observation.status["rgb"], seen.observation.status["force"]
    assert rgb.state is FusionState.REMEMBERED
    assert (rgb.stamp_ns, rgb.oldest_ns) == (stamps[2], stamps[0])
    assert rgb.age_s == pytest.approx(0.3)
    assert (rgb.elements, rgb.folded) == (3, 0)
    assert "nothing for 0.30 s" in rgb.reason
    assert (force.state, force.elements) == (FusionState.FUSED, 9 + 8), "and those between"
    assert seen.observation.subset == ("force", "action")
    assert seen.subset == NAMES
    assert not same(seen, desk.instant(seen)), "what it showed still counts"
    for _ in range(2):  # twice, until it is trusted again
        seen = desk.see(*NAMES)
    assert seen.observation.status["rgb"].state is FusionState.FUSED
    assert seen.observation.status["rgb"].elements == 5, "that it is not trusted yet is no doubt"


def test_a_camera_lost_for_longer_than_memory_is_no_longer_remembered(runtime: Runtime) -> None:
    desk = Desk(runtime, 0.4)
    desk.see(*NAMES)
    for _ in range(7):
        seen = desk.see("force")
    assert seen.observation.status["rgb"].state is FusionState.REMEMBERED
    seen = desk.see("force", after_s=0.1)
    assert seen.observation.status["rgb"].state is FusionState.STALE
    assert seen.observation.status["rgb"].elements == 0
    assert seen.subset == ("force",)


def test_memory_alone_makes_no_latent(runtime: Runtime) -> None:
    desk = Desk(runtime)
    desk.see(*NAMES)
    desk.now_s += 0.5
    assert desk.look() is None


@pytest.mark.parametrize("how", ["epoch", "forget", "sources", "memory_s"])
def test_what_forgets(runtime: Runtime, how: str) -> None:
    desk = Desk(runtime)
    desk.see(*NAMES)
    desk.see("action", after_s=0.12)
    if how == "epoch":
        desk.epoch += 1
    elif how == "forget":
        desk.perceiver.forget()
    elif how == "sources":
        desk.sources["rgb"] = replace(AS_IT_IS, options=ConversionOptions(depth_scale=2.0))
        desk.configure(5.0)
    else:
        desk.configure(0.0)
        desk.see("action", after_s=0.05)
        desk.configure(5.0)
    seen = desk.see("action")
    assert same(seen, desk.instant(seen))
    assert seen.observation.status["rgb"].state is FusionState.STALE


def test_another_stamp_offset_forgets_and_a_disabled_sensor_is_forgotten(runtime: Runtime) -> None:
    rule = FusionRule(max_skew_s=0.1, max_age_s=0.15)
    desk = Desk(runtime)
    desk.see(*NAMES)
    desk.collector.set_rule("rgb", replace(rule, enabled=False))
    seen = desk.see("force", "action", after_s=0.12)
    assert seen.observation.status["rgb"].state is FusionState.DISABLED
    assert seen.observation.status["depth"].state is FusionState.REMEMBERED
    assert "rgb" not in seen.subset
    desk.collector.set_rule("force", replace(rule, stamp_offset_s=0.01))
    seen = desk.see("force", after_s=0.1)
    assert seen.observation.status["depth"].state is FusionState.STALE


def test_a_held_command_counts_as_one_of_now(runtime: Runtime) -> None:
    desk = Desk(runtime, action=FusionRule(max_skew_s=0.1, max_age_s=0.15, hold_last_s=60.0))
    desk.see("action")
    desk.see("force", after_s=0.3)
    seen = desk.see("force", after_s=30.0)
    action = seen.observation.status["action"]
    assert (action.state, action.held) == (FusionState.FUSED, True)
    assert action.elements == 1
    assert same(seen, desk.instant(seen), 0.05), "all but nothing is left of half a minute ago"


def test_the_order_of_arrival_of_a_moment_does_not_matter(runtime: Runtime) -> None:
    """A camera that takes 60 ms to deliver is put where it belongs."""
    found = []
    for order in itertools.permutations(("rgb", "force", "action")):
        desk = Desk(runtime)
        for _ in range(5):
            desk.now_s += 0.05
            for name in order:
                desk.add(name, 0.06 if name == "rgb" else 0.0)
                seen = desk.look()
        assert seen is not None
        found.append(seen)
    assert all(same(seen, found[0].posterior) for seen in found)
    assert found[0].observation.status["rgb"].elements == 5


def test_a_latent_ahead_answers_for_later_and_tells_of_now(runtime: Runtime) -> None:
    desk = Desk(runtime)
    desk.see(*NAMES)
    now = desk.see("force", "action")
    desk.configure(5.0, 0.1)
    ahead = desk.look()
    assert ahead is not None
    assert ahead.observation.reference_ns == now.observation.reference_ns
    assert ahead.answers_ns == now.answers_ns + 100_000_000
    assert ahead.observation.status["force"].age_s == 0.0
    assert runtime.recall is not None
    later = runtime.recall.at(ahead.answers_ns, 5.0)
    assert np.array_equal(later[0], ahead.posterior.mean)
    assert np.array_equal(later[1], ahead.posterior.log_var)
    assert (ahead.posterior.log_var > now.posterior.log_var).all()
    assert not same(ahead, now.posterior)


def test_novelty_is_judged_of_the_moment_by_itself(runtime: Runtime) -> None:
    desk = Desk(runtime)
    for _ in range(3):
        desk.see(*NAMES)
    seen = desk.see("force", "action", after_s=0.12)
    report = seen.novelty
    alone = runtime.novelty_report(("force", "action"), desk.instant(seen))
    assert report.surprises == alone.surprises
    assert report.decoded == {}
    assert alone.decoded.keys() == {"force", "action"}
