"""When latents are made of arriving messages: rate, collecting, restarts; the clock is ours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.fusion.engine import Engine, Stamps, Taken
from smvae_core.fusion.rules import FusionRule, Pace
from smvae_core.fusion.source import Source
from smvae_core.presets import vision_touch

MODALITIES = vision_touch(32)
MS = 10**6
START_NS = 10**18


def engine(**pace: object) -> Engine:
    return Engine(MODALITIES, {}, Pace(**pace))  # type: ignore[arg-type]


def play(engine: Engine, messages: list[tuple[float, str]]) -> list[Taken]:
    """Feed (seconds, modality), stamped at arrival, and return what is due, as a replay does."""
    stamped = [(now_s, name, START_NS + round(now_s * 1e9)) for now_s, name in messages]
    return play_stamped(engine, stamped)


def play_stamped(engine: Engine, messages: list[tuple[float, str, int]]) -> list[Taken]:
    found, before_s = [], 0.0
    for now_s, name, stamp in messages:
        found += engine.pass_time(before_s, now_s)
        verdict = engine.put(name, stamp, np.zeros(6, np.float32), Stamps(now_s))
        if verdict.wakes and engine.collecting:
            found.append(engine.take(now_s))
        before_s = now_s
    return [*found, *engine.pass_time(before_s, math.inf)]


def test_nothing_is_due_before_a_message_and_each_is_answered_at_once() -> None:
    quick = engine(max_rate_hz=1000.0)
    assert quick.due(0.0) == math.inf
    found = play(quick, [(1.0, "rgb"), (1.2, "rgb")])
    assert [d.at_s for d in found] == [1.0, 1.2]
    assert [d.observation.subset for d in found] == [("rgb",), ("rgb",)]
    assert [d.observation.reference_ns for d in found] == [START_NS + 10**9, START_NS + 1_200 * MS]
    assert quick.due(0.0) == math.inf


@pytest.mark.parametrize("trigger", ["any", "timer", "action"])
def test_the_rate_is_limited_and_the_newest_is_used(trigger: str) -> None:
    limited = engine(trigger=trigger, max_rate_hz=10.0)
    messages = [(n * 0.004, "action") for n in range(250)]
    found = play(limited, messages)
    assert 10 <= len(found) <= 12
    at = np.array([d.at_s for d in found])
    assert np.diff(at)[1:].min() == pytest.approx(0.1, abs=0.011)
    for due in found:
        newest_s = (due.observation.reference_ns - START_NS) * 1e-9
        assert due.at_s - 0.004 <= newest_s <= due.at_s + 1e-9


def images(rounds: int, depth_after_s: float) -> list[tuple[float, str]]:
    """Two cameras at 10 Hz, depth later by some time."""
    moments = [n * 0.1 for n in range(rounds)]
    both = [(t, "rgb") for t in moments] + [(t + depth_after_s, "depth") for t in moments]
    return sorted(both)


def test_a_modality_as_trigger_waits_for_live_others_of_its_moment() -> None:
    """Depth comes 4 ms after colour: the latent is made when it came, not at the deadline."""
    waiting = engine(trigger="rgb", max_rate_hz=100.0, collect_timeout_s=0.02)
    messages = [(t, n) for t, n in images(10, 0.004) if n == "rgb" or t > 0.0]
    stamped = [(t, n, START_NS + round((t - (0.004 if n == "depth" else 0)) * 1e9))
               for t, n in messages]  # fmt: skip
    found = play_stamped(waiting, stamped)
    assert len(found) == 10
    for number, due in enumerate(found[1:], start=1):
        assert due.at_s == pytest.approx(number * 0.1 + 0.004)
        assert due.observation.reference_ns == START_NS + number * 100 * MS
        assert due.arrival_s == pytest.approx(number * 0.1)


def test_a_wait_ends_at_its_deadline_when_the_other_is_late() -> None:
    waiting = engine(trigger="rgb", max_rate_hz=100.0, collect_timeout_s=0.02)
    found = play(waiting, images(10, 0.03))
    late = [round(d.at_s % 0.1, 4) for d in found[1:]]
    assert late == [0.02] * len(late)


def test_without_a_timeout_nobody_is_waited_for() -> None:
    found = play(engine(trigger="rgb", collect_timeout_s=0.0), images(5, 0.004))
    assert [round(d.at_s, 4) for d in found] == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_a_source_that_begins_again_opens_an_epoch_without_old_samples() -> None:
    looped = engine(max_rate_hz=1000.0)
    for name in ("rgb", "depth"):
        assert not looped.put(name, START_NS + 60 * 10**9, "old", Stamps(0.0)).restarted
    stamps = [(START_NS + n * 100 * MS, Stamps(1.0 + n * 0.1)) for n in range(4)]
    begins = [looped.put("rgb", stamp, "new", came).restarted for stamp, came in stamps]
    assert sum(begins) == 1
    assert looped.epoch == 2
    due = looped.take(1.3)
    assert due.epoch == 2
    assert due.observation.samples == {"rgb": "new"}


@pytest.mark.parametrize(
    ("pace", "reason"),
    [
        ({"trigger": "camera"}, "trigger must be one of any, timer, rgb, force, action"),
        ({"trigger": "depth"}, "got 'depth'"),
        ({"max_rate_hz": 0.0}, "max_rate_hz must be positive"),
        ({"collect_timeout_s": -1.0}, "collect_timeout_s must not be negative"),
        ({"max_future_s": float("nan")}, "max_future_s must not be negative"),
    ],
)
def test_a_pace_that_cannot_be_is_refused(pace: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Engine(MODALITIES, {"depth": FusionRule(enabled=False)}, Pace(**pace))  # type: ignore[arg-type]
    with pytest.raises(UnknownModality):
        Engine(MODALITIES, {"camera": FusionRule()}, Pace())


def test_a_rate_that_is_raised_counts_from_the_next_latent_on() -> None:
    """Whoever sets 100 Hz after 0.1 Hz is not left without a latent for ten seconds."""
    slow = engine(max_rate_hz=0.1)
    sources = {m.name: Source(converter=m.converter()) for m in MODALITIES}
    for now_s in (0.0, 0.02, 0.04):
        slow.put("rgb", START_NS + round(now_s * 1e9), None, Stamps(now_s))
        if now_s < 0.04:
            slow.take(now_s)
    assert slow.due(0.05) > 9.0
    slow.configure({}, Pace(max_rate_hz=100.0, collect_timeout_s=0.0), sources)
    assert slow.due(0.05) <= 0.05
    slow.configure({}, Pace(max_rate_hz=0.1), sources)
    assert slow.due(0.05) > 9.0
