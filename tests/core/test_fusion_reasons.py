"""Limits that were broken, readings that are missing and messages that were refused, in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import FusionRule, FusionState, ModalityStatus, none_used
from smvae_core.presets import VISION_TOUCH

MS = 1_000_000
T0 = 10**15


def status_of(collector: Collector, name: str, now_ms: float, at_ms: float) -> ModalityStatus:
    return collector.observe(now_ms * 1e-3, T0 + round(at_ms * MS)).status[name]


def fed(name: str, *stamps_ms: float, **rules: FusionRule) -> Collector:
    collector = Collector(VISION_TOUCH, rules)
    for t in stamps_ms:
        collector.add(name, T0 + round(t * MS), np.zeros(6, np.float32), t * 1e-3)
    return collector


@pytest.mark.parametrize(
    ("period_ms", "inside"), [(16, "2 readings"), (33, "1 reading"), (1000 / 62.5, "2 readings")]
)
def test_a_window_with_too_few_readings_counts_them(period_ms, inside) -> None:
    """Fresh readings, and STALE for ever: only the count says why."""
    stamps = [n * period_ms for n in range(20)]
    status = status_of(fed("force", *stamps), "force", stamps[-1], stamps[-1])
    assert status.state is FusionState.STALE
    assert status.live
    assert status.reason.startswith(f"{inside} in the window, 3 needed: ")
    assert "min_samples" in status.reason
    assert "window_ms" in status.reason


def test_a_window_that_is_not_covered_yet_says_how_much_is() -> None:
    status = status_of(fed("force", *range(10)), "force", 9, 9)
    assert status.reason == "9.0 ms of readings so far, the window is of 31 ms"


@pytest.mark.parametrize(
    ("now_ms", "at_ms", "reason"),
    [
        (950, 950, ""),
        (1950, 950, "nothing for 1.00 s, 0.15 s allowed (max_age_s)"),
        (950, 1450, "0.500 s behind the reference time, 0.075 s allowed (max_skew_s)"),
        (950, -500, "1.100 s ahead of the reference time, 0.075 s allowed (max_skew_s)"),
    ],
)
def test_a_stale_image_says_which_limit_it_broke(now_ms, at_ms, reason) -> None:
    status = status_of(fed("rgb", *range(0, 951, 50)), "rgb", now_ms, at_ms)
    assert status.reason == reason
    assert (status.state is FusionState.FUSED) == (not reason)


def test_one_good_message_after_a_loss_is_not_enough_and_says_so() -> None:
    status = status_of(fed("rgb", *range(0, 951, 50), 3000), "rgb", 3010, 3010)
    assert status.reason == "lost, and one good message since: the next makes it live"


def test_who_was_never_heard_or_has_no_publisher_says_so() -> None:
    collector = Collector(VISION_TOUCH, {"action": FusionRule(enabled=False)})
    collector.set_publishers("depth", 0)
    found = {n: s.reason for n, s in collector.observe(0.0).status.items()}
    assert found == {
        "rgb": "no message yet",
        "depth": "no publisher matches: none is there, or its type or QoS differs",
        "force": "no message yet",
        "action": "switched off (enabled)",
    }


def test_a_command_of_the_future_says_so() -> None:
    status = status_of(fed("action", 500), "action", 500, 100)
    assert status.reason == "every sample is newer than the reference time"


def test_a_sensor_all_of_whose_messages_are_refused_keeps_the_first_reason() -> None:
    collector = Collector(VISION_TOUCH)
    collector.reject("rgb", T0, 0.0, "encoding", "rgb: encoding: expected rgb8, got bayer12")
    collector.reject("rgb", T0 + 50 * MS, 0.05, "size")
    status = collector.observe(0.05).status["rgb"]
    assert status.state is FusionState.REJECTED
    assert status.reason == "the newest message was refused: size"
    assert none_used(status, 0) == (
        "2 messages rejected, none used; the first: rgb: encoding: expected rgb8, got bayer12"
    )
    assert none_used(status, 1) == ""
    collector.reset_counts()
    assert none_used(collector.observe(0.05).status["rgb"], 0) == ""


def test_held_alone_is_stale_and_says_so() -> None:
    collector = fed("action", 0, action=FusionRule(hold_last_s=5.0))
    status = status_of(collector, "action", 2000, 2000)
    assert (status.state, status.reason) == (
        FusionState.STALE,
        "held, and nothing fresh beside it",
    )
