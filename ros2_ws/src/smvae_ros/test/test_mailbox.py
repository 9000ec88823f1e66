"""The mailbox: who wakes the thread, how long it collects, epochs, counts; time by hand."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from smvae_ros.listen.mailbox import Mailbox

from smvae_core.fusion.engine import Taken
from smvae_core.fusion.rules import FusionRule, FusionState, Observation, Pace
from smvae_core.fusion.source import Source
from smvae_core.presets import VISION_TOUCH

MS = 1_000_000
T0 = 1_000_000 * MS
#: Nobody waits that long: what ends sooner was woken.
FOR_EVER_S = 3600.0


class Hands:
    """A steady clock that only moves when told."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def at(t_ms: float) -> SimpleNamespace:
    """Return a message stamped at a time; nobody reads more of it here."""
    sec, nanosec = divmod(T0 + round(t_ms * MS), 10**9)
    return SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec)))


class Play:
    """A mailbox, and sensors that play into it at 20 Hz."""

    def __init__(self, trigger: str, **rules: FusionRule) -> None:
        self.hands = Hands()
        every = {m.name: rules.get(m.name, FusionRule()) for m in VISION_TOUCH}
        pace = Pace(trigger=trigger, max_rate_hz=1000.0, collect_timeout_s=FOR_EVER_S)
        sources = {m.name: Source(converter=m.converter()) for m in VISION_TOUCH}
        zeros = replace(VISION_TOUCH[2].converter(), to_array=lambda *_: np.zeros(6, np.float32))
        self.every, self.pace = every, pace
        self.sources = sources | {"force": Source(converter=zeros)}
        self.mailbox = Mailbox(VISION_TOUCH, every, pace, self.sources, clock=self.hands)

    def put(self, name: str, t_ms: float) -> None:
        self.hands.now_s = t_ms * 1e-3
        assert not self.mailbox.receive(name, at(t_ms), 0).reason

    def run(self, *names: str, until_ms: int = 1000) -> None:
        for t in range(0, until_ms, 50):
            for name in names:
                self.put(name, t)
        self.take()

    def take(self) -> Taken:
        """Take at once, whoever else may come."""
        self.mailbox.configure(self.every, replace(self.pace, collect_timeout_s=0.0), self.sources)
        taken = self.mailbox.take(0.0)
        self.mailbox.configure(self.every, self.pace, self.sources)
        assert taken is not None
        return taken

    def asked(self) -> bool:
        return self.mailbox._engine.pending

    def begin(self) -> tuple[threading.Thread, list[Taken | None]]:
        """Return a thread that waits for what is due, and what it takes in the end."""
        found: list[Taken | None] = []
        take = self.mailbox.take
        thread = threading.Thread(target=lambda: found.append(take(FOR_EVER_S)))
        thread.start()
        return thread, found


def samples(observation: Observation) -> dict[str, int]:
    """Return the stamps of what is fused [ms]."""
    return {n: (observation.status[n].stamp_ns - T0) // MS for n in observation.subset}


def finish(thread: threading.Thread) -> None:
    """Join; generous, since a thread that is not woken would sleep for an hour."""
    thread.join(60.0)
    assert not thread.is_alive(), "nobody woke the thread"


def test_a_message_wakes_who_waits() -> None:
    play = Play("any")
    thread, found = play.begin()
    play.put("rgb", 0)
    finish(thread)
    assert found[0] is not None
    assert not play.asked()


@pytest.mark.parametrize("trigger", ["any", "rgb"])
def test_a_burst_of_sensors_becomes_one_latent(trigger) -> None:
    """The thread collects after the first message, is woken by the last, and finds all of them."""
    play = Play(trigger)
    play.run("rgb", "depth", "action")
    play.put("rgb", 1000)
    thread, found = play.begin()
    play.put("depth", 1001)
    play.put("action", 1002)
    finish(thread)
    taken = found[0]
    assert taken.observation.subset == ("rgb", "depth", "action")
    assert taken.arrival_s == pytest.approx(1.0)
    assert not play.asked(), "the rest of the burst asks for no second latent"


@pytest.mark.parametrize("trigger", ["any", "rgb"])
def test_collecting_does_not_wait_for_the_dead(trigger) -> None:
    play = Play(trigger)
    play.run("rgb", "depth")
    for t in range(1000, 1500, 50):
        play.put("rgb", t)
    thread, found = play.begin()
    finish(thread)
    assert found[0].observation.subset == ("rgb",)


def test_collecting_ends_after_its_time() -> None:
    """By the real clock: depth is due at once but never comes, and the wait ends by itself."""
    rules = {m.name: FusionRule(max_age_s=FOR_EVER_S) for m in VISION_TOUCH}
    mailbox = Mailbox(VISION_TOUCH, rules, Pace(trigger="rgb", collect_timeout_s=0.05))
    mailbox.receive("depth", at(0), 0)
    mailbox.receive("rgb", at(50), 0)
    began_s = time.monotonic()
    taken = mailbox.take(FOR_EVER_S)
    assert taken is not None
    assert time.monotonic() - began_s >= 0.04
    assert taken.observation.subset == ("rgb", "depth"), "the depth of before is near enough"


@pytest.mark.parametrize("end", ["close", "flush"])
def test_closing_and_flushing_end_a_collection(end) -> None:
    play = Play("any")
    play.run("rgb", "depth")
    play.put("rgb", 1000)
    thread, found = play.begin()
    getattr(play.mailbox, end)()
    if end == "flush":
        play.put("action", 1000)
    finish(thread)
    assert [f and f.observation.subset for f in found] == [None if end == "close" else ("action",)]


def test_a_flush_begins_an_epoch_in_which_old_samples_are_gone() -> None:
    play = Play("any")
    play.run("rgb")
    before = play.mailbox.epoch
    assert play.mailbox.flush() == before + 1
    assert play.mailbox.observe().samples == {}
    play.put("rgb", 1001)
    taken = play.take()
    assert (taken.epoch, samples(taken.observation)) == (before + 1, {"rgb": 1001})


def test_a_sensor_that_stopped_is_never_fused_again_by_anothers_trigger() -> None:
    play = Play("any")
    play.run("rgb", "action")
    seen = []
    for t in range(1000, 2000, 50):
        play.put("action", t)
        seen.append(play.take().observation.subset)
    assert ("rgb", "action") not in seen[2:]
    assert seen[-1] == ("action",)
    assert not play.mailbox.blind()
    play.hands.now_s = 3.0
    assert play.mailbox.blind()


def test_a_changed_trigger_and_rule_count_at_once() -> None:
    play = Play("any")
    play.every = {m.name: FusionRule(enabled=m.name != "depth") for m in VISION_TOUCH}
    play.pace = replace(play.pace, trigger="rgb")
    play.mailbox.configure(play.every, play.pace, play.sources)
    play.put("action", 0)
    play.put("depth", 0)
    assert not play.asked()
    play.put("rgb", 0)
    observation = play.take().observation
    assert observation.subset == ("rgb", "action")
    assert observation.status["depth"].state is FusionState.DISABLED


def test_five_times_the_rate_does_not_grow_any_queue() -> None:
    """The thread takes one latent per 250 messages; the newest of each is what it gets."""
    play = Play("any")
    sizes = []
    for burst in range(20):
        for i in range(250):
            play.put("rgb", burst * 250 + i)
            play.put("action", burst * 250 + i)
        observation = play.take().observation
        newest = burst * 250 + 249
        assert samples(observation) == {"rgb": newest, "action": newest}
        channels = play.mailbox._engine.collector._channels
        sizes.append({n: len(c.samples) for n, c in channels.items()})
    assert sizes[-1] == sizes[9]
    assert sizes[-1]["rgb"] <= 8, "images are large"


def test_opening_again_counts_from_zero() -> None:
    play = Play("any")
    play.run("rgb")
    play.mailbox.drop("rgb", T0 + 950 * MS, "encoding")
    play.mailbox.close()
    play.mailbox.flush()
    play.mailbox.open()
    status = play.mailbox.observe().status["rgb"]
    assert (status.received, status.rejected, status.state) == (0, 0, FusionState.ABSENT)


def test_ages_are_by_the_nodes_clock_once_it_runs() -> None:
    """What is known when nothing comes any more: ages grow, and one without samples has none."""
    play = Play("any", action=FusionRule(stamp_offset_s=0.5))
    play.run("rgb")
    play.put("action", 1000)
    for clock_ms in (2000, 60_000):
        status = play.mailbox.statuses(T0 + clock_ms * MS)
        assert status["rgb"].age_s == pytest.approx((clock_ms - 950) * 1e-3)
        assert status["action"].age_s == pytest.approx((clock_ms - 500) * 1e-3), "corrected"
        assert math.isnan(status["depth"].age_s)
    not_started = play.mailbox.statuses(0)
    assert not_started["rgb"].age_s == pytest.approx(0.0), "at the newest stamp of all"


def test_a_sample_that_nobody_looked_at_before_the_next_is_missed() -> None:
    play = Play("any")
    play.put("rgb", 0)
    play.put("depth", 0)
    assert play.mailbox.missed == 0, "one latent answers both"
    play.put("rgb", 20)
    assert play.mailbox.missed == 1
    play.take()
    play.put("rgb", 40)
    assert play.mailbox.missed == 1
    play.mailbox.flush()
    play.put("rgb", 60)
    assert play.mailbox.missed == 1
    for t in range(100, 200):
        play.put("force", t)
    assert play.mailbox.missed == 1, "one window is of many readings"
    play.mailbox.open()
    assert play.mailbox.missed == 0


def test_what_does_not_ask_is_not_missed() -> None:
    play = Play("rgb")
    play.put("action", 0)
    play.put("action", 20)
    assert play.mailbox.missed == 0
