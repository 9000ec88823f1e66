"""Who asks for a latent, of which moment, and who is waited for: tables of steady times."""

from __future__ import annotations

import pytest

from smvae_core.fusion.engine import Engine, Stamps
from smvae_core.fusion.rules import FusionRule, Pace
from smvae_core.presets import VISION_TOUCH

MS = 1_000_000
T0 = 1_000_000 * MS
WAIT_S = 0.01


def asking(name: str, **rules: FusionRule) -> Engine:
    """Return an engine whose latents are not limited in rate."""
    return Engine(
        VISION_TOUCH, rules, Pace(trigger=name, max_rate_hz=1000.0, collect_timeout_s=WAIT_S)
    )


def put(engine: Engine, name: str, t_ms: float, arrival_ms: float | None = None) -> None:
    """Add a sample stamped at a time, arriving then or later; its value is its stamp in ms."""
    arrival_s = (t_ms if arrival_ms is None else arrival_ms) * 1e-3
    engine.put(name, T0 + round(t_ms * MS), t_ms, Stamps(arrival_s))


def playing(name: str, *phases_ms: tuple[str, float], until_ms: float = 1000) -> Engine:
    """Return an engine whose sensors have played at 20 Hz, each with its phase, until a time."""
    engine = asking(name)
    times = [
        (t + phase, sensor) for sensor, phase in phases_ms for t in range(0, int(until_ms), 50)
    ]
    for t, sensor in sorted(times):
        put(engine, sensor, t)
    engine.take(until_ms * 1e-3)
    return engine


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
    engine = asking(name, depth=FusionRule(enabled=False))
    put(engine, sensor, 0)
    assert engine.pending is asks


def test_a_message_that_is_refused_does_not_ask() -> None:
    engine = playing("any", ("rgb", 0))
    put(engine, "rgb", 500)
    assert not engine.pending


def test_a_latent_is_asked_for_once() -> None:
    engine = playing("any", ("rgb", 0))
    put(engine, "rgb", 1000)
    assert engine.take(1.0).observation.samples == {"rgb": 1000}
    assert not engine.pending


def test_any_waits_for_the_rest_of_a_burst() -> None:
    """rgb, depth and action at the same stamps; rgb's message comes first."""
    engine = playing("any", ("rgb", 0), ("depth", 0), ("action", 0))
    put(engine, "rgb", 1000)
    engine.due(1.0)
    assert engine.awaited(1.0) == ("depth", "action")
    put(engine, "action", 1000, arrival_ms=1003)
    assert engine.awaited(1.003) == ("depth",)
    put(engine, "depth", 1000, arrival_ms=1005)
    assert engine.awaited(1.005) == ()
    observation = engine.take(1.005).observation
    assert observation.samples == {"rgb": 1000, "depth": 1000, "action": 1000}
    assert engine.arrival_s == pytest.approx(1.0), "latency counts from the first of the burst"


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
    engine = playing("any", ("rgb", 0), ("depth", phase_ms))
    put(engine, "rgb", 1000)
    engine.due(1.0)
    assert engine.awaited(1.0) == awaited


@pytest.mark.parametrize("name", ["any", "rgb"])
def test_nobody_waits_for_the_dead(name) -> None:
    engine = playing(name, ("rgb", 0), ("depth", 0))
    for t in range(1000, 1101, 50):  # depth stopped at 950, and is lost after 1100
        put(engine, "rgb", t)
    engine.due(1.1)
    assert engine.awaited(1.1) == ("depth",), "late, but alive"
    engine.take(1.1)
    put(engine, "rgb", 1150)
    engine.due(1.15)
    assert engine.awaited(1.15) == ()


def test_a_long_max_age_does_not_make_any_wait_for_who_stopped() -> None:
    engine = asking("any", depth=FusionRule(max_age_s=60.0))
    for t in range(0, 1000, 50):
        put(engine, "rgb", t)
        put(engine, "depth", t)
    for t in range(1000, 1201, 50):
        put(engine, "rgb", t)
    engine.due(1.2)
    assert engine.awaited(1.2) == ()


def test_a_modality_as_trigger_waits_for_all_live_others() -> None:
    engine = playing("rgb", ("rgb", 0), ("depth", 14), ("action", 30))
    put(engine, "rgb", 1000)
    engine.due(1.0)
    assert engine.awaited(1.0) == ("depth",), "action is of this moment"


def test_the_timer_waits_for_nobody() -> None:
    engine = playing("timer", ("rgb", 0), ("depth", 0))
    put(engine, "rgb", 1000)
    engine.due(1.0)
    assert engine.awaited(1.0) == ()


def test_waiting_ends_with_the_time_and_with_a_flush() -> None:
    engine = playing("any", ("rgb", 0), ("depth", 0))
    put(engine, "rgb", 1000)
    engine.due(1.0)
    assert engine.awaited(1.01) == ()
    assert engine.awaited(1.0) == ("depth",)
    engine.flush()
    assert not engine.pending
    assert engine.awaited(1.0) == ()


def test_the_moment_of_a_modality_is_its_own_newest_stamp() -> None:
    engine = playing("rgb", ("rgb", 0), ("action", 10))
    put(engine, "rgb", 1000)
    put(engine, "action", 1010)
    observation = engine.take(1.01).observation
    assert observation.reference_ns == T0 + 1000 * MS
    assert observation.samples == {"rgb": 1000, "action": 960}, "not the command of later"


def test_blind_is_whoever_could_not_ask() -> None:
    engine = playing("rgb", ("rgb", 0), ("action", 0))
    assert not engine.blind(1.0)
    assert engine.blind(1.5)
    for t in range(1000, 1501, 50):
        put(engine, "action", t)
    assert engine.blind(1.5), "action lives, but rgb asks"
    engine.configure({}, Pace(), {})
    assert not engine.blind(1.5)


def test_a_slow_trigger_beside_fast_others_is_not_blind() -> None:
    """At 2 Hz, judged by its own moment: others are up to 0.5 s ahead of it."""
    engine = asking("rgb", rgb=FusionRule(max_skew_s=0.01, max_age_s=2.0))
    for t in range(0, 2000, 50):
        put(engine, "action", t)
        if t % 500 == 0:
            put(engine, "rgb", t)
    assert not engine.blind(1.95)


def test_held_commands_do_not_keep_a_node_from_being_blind() -> None:
    engine = asking("any", action=FusionRule(hold_last_s=60.0))
    put(engine, "action", 0)
    assert not engine.blind(0.1)
    assert engine.blind(2.0)
