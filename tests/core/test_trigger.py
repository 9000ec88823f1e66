"""Who asks for a latent, of which moment, and who is waited for: tables of steady times."""

from __future__ import annotations

import pytest

from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import FusionRule
from smvae_core.fusion.trigger import Trigger
from smvae_core.modality import VISION_TOUCH

MS = 1_000_000
T0 = 1_000_000 * MS
WAIT_S = 0.01


def put(trigger: Trigger, name: str, t_ms: float, arrival_ms: float | None = None) -> None:
    """Add a sample stamped at a time, arriving then or later; its value is its stamp in ms."""
    arrival_s = (t_ms if arrival_ms is None else arrival_ms) * 1e-3
    trigger.add(name, T0 + round(t_ms * MS), t_ms, arrival_s)


def playing(name: str, *phases_ms: tuple[str, float], until_ms: float = 1000) -> Trigger:
    """Return a trigger whose sensors have played at 20 Hz, each with its phase, until a time."""
    trigger = Trigger(Collector(VISION_TOUCH), name)
    times = [
        (t + phase, sensor) for sensor, phase in phases_ms for t in range(0, int(until_ms), 50)
    ]
    for t, sensor in sorted(times):
        put(trigger, sensor, t)
    trigger.take(until_ms * 1e-3)
    return trigger


@pytest.mark.parametrize(
    ("name", "sensor", "asks"),
    [
        ("any", "rgb", True),
        ("any", "action", True),
        ("timer", "rgb", True),
        ("rgb", "rgb", True),
        ("rgb", "action", False),
        ("any", "depth", False),
    ],
)
def test_who_asks(name, sensor, asks) -> None:
    trigger = Trigger(Collector(VISION_TOUCH, {"depth": FusionRule(enabled=False)}), name)
    put(trigger, sensor, 0)
    assert trigger.pending is asks


def test_a_message_that_is_refused_does_not_ask() -> None:
    trigger = playing("any", ("rgb", 0))
    put(trigger, "rgb", 500)
    assert not trigger.pending


def test_a_latent_is_asked_for_once() -> None:
    trigger = playing("any", ("rgb", 0))
    put(trigger, "rgb", 1000)
    assert trigger.take(1.0).samples == {"rgb": 1000}
    assert not trigger.pending


def test_any_waits_for_the_rest_of_a_burst() -> None:
    """rgb, depth and action at the same stamps; rgb's message comes first."""
    trigger = playing("any", ("rgb", 0), ("depth", 0), ("action", 0))
    put(trigger, "rgb", 1000)
    trigger.begin()
    assert trigger.awaited(1.0, WAIT_S) == ("depth", "action")
    put(trigger, "action", 1000, arrival_ms=1003)
    assert trigger.awaited(1.003, WAIT_S - 0.003) == ("depth",)
    put(trigger, "depth", 1000, arrival_ms=1005)
    assert trigger.awaited(1.005, WAIT_S - 0.005) == ()
    observation = trigger.take(1.005)
    assert observation.samples == {"rgb": 1000, "depth": 1000, "action": 1000}
    assert trigger.arrival_s == pytest.approx(1.0), "latency counts from the first of the burst"


@pytest.mark.parametrize(
    ("phase_ms", "awaited"),
    [
        pytest.param(0, ("depth",), id="due now"),
        pytest.param(6, ("depth",), id="due within the time"),
        pytest.param(14, (), id="due after it: the next latent is its own"),
        pytest.param(30, (), id="of this moment already: half a period behind at most"),
    ],
)
def test_any_waits_only_for_who_is_due(phase_ms, awaited) -> None:
    trigger = playing("any", ("rgb", 0), ("depth", phase_ms))
    put(trigger, "rgb", 1000)
    trigger.begin()
    assert trigger.awaited(1.0, WAIT_S) == awaited


@pytest.mark.parametrize("name", ["any", "rgb"])
def test_nobody_waits_for_the_dead(name) -> None:
    trigger = playing(name, ("rgb", 0), ("depth", 0))
    for t in range(1000, 1101, 50):  # depth stopped at 950, and is lost after 1100
        put(trigger, "rgb", t)
    trigger.begin()
    assert trigger.awaited(1.1, WAIT_S) == ("depth",), "late, but alive"
    trigger.take(1.1)
    put(trigger, "rgb", 1150)
    trigger.begin()
    assert trigger.awaited(1.15, WAIT_S) == ()


def test_a_long_max_age_does_not_make_any_wait_for_who_stopped() -> None:
    rules = {"depth": FusionRule(max_age_s=60.0)}
    trigger = Trigger(Collector(VISION_TOUCH, rules), "any")
    for t in range(0, 1000, 50):
        put(trigger, "rgb", t)
        put(trigger, "depth", t)
    for t in range(1000, 1201, 50):
        put(trigger, "rgb", t)
    trigger.begin()
    assert trigger.awaited(1.2, WAIT_S) == ()


def test_a_modality_as_trigger_waits_for_all_live_others() -> None:
    trigger = playing("rgb", ("rgb", 0), ("depth", 14), ("action", 30))
    put(trigger, "rgb", 1000)
    trigger.begin()
    assert trigger.awaited(1.0, WAIT_S) == ("depth",), "action is of this moment"


def test_the_timer_waits_for_nobody() -> None:
    trigger = playing("timer", ("rgb", 0), ("depth", 0))
    put(trigger, "rgb", 1000)
    trigger.begin()
    assert trigger.awaited(1.0, WAIT_S) == ()


def test_waiting_ends_with_the_time_and_with_a_flush() -> None:
    trigger = playing("any", ("rgb", 0), ("depth", 0))
    put(trigger, "rgb", 1000)
    trigger.begin()
    assert trigger.awaited(1.01, 0.0) == ()
    assert trigger.awaited(1.0, WAIT_S) == ("depth",)
    trigger.flush()
    assert not trigger.pending
    assert trigger.awaited(1.0, WAIT_S) == ()


def test_the_moment_of_a_modality_is_its_own_newest_stamp() -> None:
    trigger = playing("rgb", ("rgb", 0), ("action", 10))
    put(trigger, "rgb", 1000)
    put(trigger, "action", 1010)
    observation = trigger.take(1.01)
    assert observation.reference_ns == T0 + 1000 * MS
    assert observation.samples == {"rgb": 1000, "action": 960}, "not the command of later"


def test_blind_is_whoever_could_not_ask() -> None:
    trigger = playing("rgb", ("rgb", 0), ("action", 0))
    assert not trigger.blind(1.0)
    assert trigger.blind(1.5)
    for t in range(1000, 1501, 50):
        put(trigger, "action", t)
    assert trigger.blind(1.5), "action lives, but rgb asks"
    trigger.name = "any"
    assert not trigger.blind(1.5)


def test_a_slow_trigger_beside_fast_others_is_not_blind() -> None:
    """At 2 Hz, judged by its own moment: others are up to 0.5 s ahead of it."""
    rules = {"rgb": FusionRule(max_skew_s=0.01, max_age_s=2.0)}
    trigger = Trigger(Collector(VISION_TOUCH, rules), "rgb")
    for t in range(0, 2000, 50):
        put(trigger, "action", t)
        if t % 500 == 0:
            put(trigger, "rgb", t)
    assert not trigger.blind(1.95)


def test_held_commands_do_not_keep_a_node_from_being_blind() -> None:
    rules = {"action": FusionRule(hold_last_s=60.0)}
    trigger = Trigger(Collector(VISION_TOUCH, rules), "any")
    put(trigger, "action", 0)
    assert not trigger.blind(0.1)
    assert trigger.blind(2.0)
