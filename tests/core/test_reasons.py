"""Whoever is not fused is told in words why: one reason per cause, none for who is fused."""

from __future__ import annotations

import numpy as np
import pytest

from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import FusionRule, FusionState
from smvae_core.presets import VISION_TOUCH

MS = 1_000_000
T0 = 1_000_000 * MS


def feed(collector: Collector, name: str, *times_ms: float) -> None:
    for t in times_ms:
        value = np.full(6, t, np.float32) if name == "force" else t
        collector.add(name, T0 + round(t * MS), value, now_s=t * 1e-3)


@pytest.fixture
def collector() -> Collector:
    collector = Collector(VISION_TOUCH, {"depth": FusionRule(enabled=False)})
    feed(collector, "rgb", *range(0, 501, 50))
    return collector


def why(collector: Collector, name: str, now_s: float, reference_ms: float | None = None) -> str:
    reference_ns = None if reference_ms is None else T0 + round(reference_ms * MS)
    status = collector.observe(now_s, reference_ns).status[name]
    assert (status.state is FusionState.FUSED) == (status.reason == "")
    return status.reason


def test_who_is_fused_has_no_reason(collector: Collector) -> None:
    assert why(collector, "rgb", 0.5) == ""


def test_absent_and_disabled(collector: Collector) -> None:
    assert why(collector, "depth", 0.5) == "switched off (enabled)"
    assert why(collector, "action", 0.5) == "no message yet"
    collector.set_publishers("action", 0)
    assert (
        why(collector, "action", 0.5)
        == "no publisher matches: none is there, or its type or QoS differs"
    )


def test_rejected_names_the_newest_refusal(collector: Collector) -> None:
    collector.reject("rgb", T0, 0.51, "size")
    collector.reject("rgb", T0, 0.52, "encoding")
    collector.drop("rgb", T0 + 500 * MS, 0.53, "empty")
    collector.set_rule("rgb", FusionRule(max_skew_s=0.01, max_age_s=1.0))
    assert why(collector, "rgb", 0.54, 500) == "the newest message was refused: empty"


def test_a_camera_whose_images_cannot_be_decoded_is_rejected_all_the_time(
    collector: Collector,
) -> None:
    """One that waits for a second is not decoded: it is no good message either."""
    for t in range(550, 1500, 50):
        feed(collector, "rgb", t)
        while collector.observe(t * 1e-3).samples.get("rgb", 0) > 500:
            newest_ns = collector.newest_ns("rgb")
            collector.drop("rgb", newest_ns, t * 1e-3, "encoding", "rgb: encoding: odd")
        status = collector.observe(t * 1e-3).status["rgb"]
        if t >= 700:  # else the last good one still belongs to the moment
            assert status.state is FusionState.REJECTED
            assert status.reason.endswith("refused: rgb: encoding: odd")
    feed(collector, "rgb", 1500, 1550)
    assert why(collector, "rgb", 1.55) == ""
    assert why(collector, "rgb", 3.0).startswith("nothing for 1.45 s")


def test_silent_and_back_after_a_loss(collector: Collector) -> None:
    assert why(collector, "rgb", 0.8) == "nothing for 0.30 s, 0.15 s allowed (max_age_s)"
    feed(collector, "rgb", 1000)
    assert why(collector, "rgb", 1.01) == "lost, and one good message since: the next makes it live"


def test_too_far_from_the_reference_time(collector: Collector) -> None:
    said = why(collector, "rgb", 0.51, 600)
    assert said == "0.100 s behind the reference time, 0.075 s allowed (max_skew_s)"


def test_nothing_before_the_reference_time(collector: Collector) -> None:
    feed(collector, "action", 500)
    assert why(collector, "action", 0.5, 400) == "every sample is newer than the reference time"


def test_a_window_says_how_many_readings_it_has(collector: Collector) -> None:
    feed(collector, "force", 440, 460, 480, 500)
    collector.set_rule("force", FusionRule(max_skew_s=0.1, max_age_s=1.0))
    said = why(collector, "force", 0.5)
    assert said.startswith("2 readings in the window, 3 needed: ")
    feed(collector, "force", 510)
    assert why(collector, "force", 0.51, 511) == ""


def test_a_held_sample_alone_says_so(collector: Collector) -> None:
    collector.set_rule("rgb", FusionRule(hold_last_s=5.0))
    assert why(collector, "rgb", 1.0) == "held, and nothing fresh beside it"
