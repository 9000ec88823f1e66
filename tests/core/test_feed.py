"""When latents are made of arriving messages: rate, collecting, restarts; the clock is ours."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.fusion.engine import Due, Feed, Pace
from smvae_core.fusion.rules import FusionRule
from smvae_core.modality import vision_touch

MODALITIES = vision_touch(32)
MS = 10**6
START_NS = 10**18


def feed(**pace: object) -> Feed:
    return Feed(MODALITIES, {}, Pace(**pace))  # type: ignore[arg-type]


def play(feed: Feed, messages: list[tuple[float, str]], end_s: float = math.inf) -> Iterator[Due]:
    """Feed (seconds, modality), stamped at arrival, and yield what is due, as a replay does."""
    for now_s, name in messages:
        yield from catch_up(feed, now_s)
        feed.put(name, START_NS + round(now_s * 1e9), np.zeros(6, np.float32), now_s)
        if feed.collecting and feed.ready(now_s):
            yield feed.take(now_s)
    yield from catch_up(feed, end_s)


def catch_up(feed: Feed, until_s: float) -> Iterator[Due]:
    while (due_s := feed.due_s()) < until_s:
        if feed.ready(due_s):
            yield feed.take(due_s)


def test_nothing_is_due_before_a_message_and_each_is_answered_at_once() -> None:
    quick = feed(max_rate_hz=1000.0)
    assert quick.due_s() == math.inf
    found = list(play(quick, [(1.0, "rgb"), (1.2, "rgb")]))
    assert [d.at_s for d in found] == [1.0, 1.2]
    assert [d.observation.subset for d in found] == [("rgb",), ("rgb",)]
    assert [d.observation.reference_ns for d in found] == [START_NS + 10**9, START_NS + 1_200 * MS]
    assert quick.due_s() == math.inf


@pytest.mark.parametrize("trigger", ["any", "timer", "action"])
def test_the_rate_is_limited_and_the_newest_is_used(trigger: str) -> None:
    limited = feed(trigger=trigger, max_rate_hz=10.0)
    messages = [(n * 0.004, "action") for n in range(250)]
    found = list(play(limited, messages))
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
    waiting = feed(trigger="rgb", max_rate_hz=100.0, collect_timeout_s=0.02)
    messages = [(t, n) for t, n in images(10, 0.004) if n == "rgb" or t > 0.0]
    stamped = [(t, n, START_NS + round((t - (0.004 if n == "depth" else 0)) * 1e9))
               for t, n in messages]  # fmt: skip
    found = []
    for now_s, name, stamp in stamped:
        found += list(catch_up(waiting, now_s))
        waiting.put(name, stamp, None, now_s)
        if waiting.collecting and waiting.ready(now_s):
            found.append(waiting.take(now_s))
    assert len(found) == 10
    for number, due in enumerate(found[1:], start=1):
        assert due.at_s == pytest.approx(number * 0.1 + 0.004)
        assert due.observation.reference_ns == START_NS + number * 100 * MS
        assert due.arrival_s == pytest.approx(number * 0.1)


def test_a_wait_ends_at_its_deadline_when_the_other_is_late() -> None:
    waiting = feed(trigger="rgb", max_rate_hz=100.0, collect_timeout_s=0.02)
    found = list(play(waiting, images(10, 0.03)))
    late = [round(d.at_s % 0.1, 4) for d in found[1:]]
    assert late == [0.02] * len(late)


def test_without_a_timeout_nobody_is_waited_for() -> None:
    found = list(play(feed(trigger="rgb", collect_timeout_s=0.0), images(5, 0.004)))
    assert [round(d.at_s, 4) for d in found] == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_a_source_that_begins_again_opens_an_epoch_without_old_samples() -> None:
    looped = feed(max_rate_hz=1000.0)
    assert not looped.put("rgb", START_NS + 60 * 10**9, "old", 0.0)
    assert not looped.put("depth", START_NS + 60 * 10**9, "old", 0.0)
    begins = [looped.put("rgb", START_NS + n * 100 * MS, "new", 1.0 + n * 0.1) for n in range(4)]
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
        Feed(MODALITIES, {"depth": FusionRule(enabled=False)}, Pace(**pace))  # type: ignore[arg-type]
    with pytest.raises(UnknownModality):
        Feed(MODALITIES, {"camera": FusionRule()}, Pace())


def test_stamps_of_zero_or_of_the_future_are_named() -> None:
    checked = feed(max_future_s=0.5)
    assert checked.bad_stamp(0, START_NS) == "zero stamp"
    assert checked.bad_stamp(START_NS + 600 * MS, START_NS) == "future stamp"
    assert checked.bad_stamp(START_NS + 400 * MS, START_NS) == ""
