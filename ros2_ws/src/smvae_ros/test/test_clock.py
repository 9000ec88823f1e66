"""Clocks that jump, loop, stop or have not started, and stamps that cannot be: over real DDS."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import pytest
from node_harness import Client, fused, status_of
from rosgraph_msgs.msg import Clock
from smvae_msgs.msg import LatentState, ModalityStatus

SECOND = 10**9
STEP = SECOND // 20


def stamp(latent: LatentState) -> int:
    return int(latent.header.stamp.sec) * SECOND + int(latent.header.stamp.nanosec)


class SimulatedTime:
    """Plays /clock, and beside it sensors that are stamped by it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.now_ns = 0
        self._publisher = client.node.create_publisher(Clock, "/clock", 10)
        client.until(self._publisher.get_subscription_count)

    def start(self, now_ns: int) -> None:
        """Let the clock run from here until the node's heartbeats are stamped by it."""
        self.now_ns = now_ns

        def heard() -> bool:
            self.tick()  # the first may be lost: the node may know this publisher later than we it
            return any(stamp(m) >= now_ns for m in self.client.latents)

        self.client.until(heard)

    def tick(self, step_ns: int = STEP) -> None:
        self.now_ns += step_ns
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(self.now_ns, SECOND)
        self._publisher.publish(message)
        self.client.spin(0.02)  # the clock is there before what it stamps

    def valid(self, epoch: int | None = None) -> list[LatentState]:
        return [m for m in self.client.latents if m.valid and epoch in (None, m.epoch)]

    def play(self, *names: str, moments: int = 1) -> None:
        """Tick, then publish one sample of each, `moments` times."""
        for _ in range(moments):
            self.tick()
            for name in names:
                self.client.publish(name, self.now_ns)
            self.client.spin(0.03)

    def play_until(self, *names: str, condition: Any) -> Any:
        def found() -> Any:
            self.play(*names)
            return condition()

        return self.client.until(found)


@pytest.fixture
def time(start_node, client, bundle, strict) -> SimulatedTime:
    """An active node under simulated time that has not started."""
    start_node(bundle=bundle, parameters=strict | {"use_sim_time": True})
    client.activate()  # heartbeats come although /clock has not started
    return SimulatedTime(client)


def test_a_bag_that_loops_drops_everything_each_time(time: SimulatedTime) -> None:
    begin = 1000 * SECOND
    time.start(begin)
    epoch = time.play_until("action", "rgb", condition=time.valid)[-1].epoch
    for _ in range(3):
        time.play("action", "rgb", moments=20)
        reached = time.now_ns
        time.now_ns = begin
        time.client.latents.clear()
        latents = time.play_until(
            "action",
            "rgb",
            condition=lambda e=epoch: [m for m in time.valid() if m.epoch > e],
        )
        assert all(stamp(m) < reached for m in latents), "a latent of before the jump"
        epoch = latents[-1].epoch
        counted = [m.sequence for m in time.client.latents if m.epoch == epoch]
        assert counted == list(range(len(counted))), "counted anew, with the heartbeats"
    time.client.latents.clear()
    time.play("action", "rgb", moments=20)
    assert {m.epoch for m in time.client.latents} == {epoch}, "one loop is not noticed twice"


def test_a_forward_jump_drops_everything(time: SimulatedTime) -> None:
    time.start(1000 * SECOND)
    epoch = time.play_until("action", condition=time.valid)[-1].epoch
    time.now_ns += 3600 * SECOND
    latents = time.play_until("action", condition=lambda: time.valid(epoch + 1))
    assert stamp(latents[0]) > 4600 * SECOND


def test_small_steps_of_the_clock_are_no_jump(time: SimulatedTime) -> None:
    time.start(1000 * SECOND)
    epoch = time.play_until("action", condition=time.valid)[-1].epoch
    for _ in range(5):
        time.tick(9 * SECOND // 10)
        now_ns = time.now_ns  # two steps at once would be a jump: each is waited for
        time.play_until(
            "action", condition=lambda t=now_ns: [m for m in time.valid() if stamp(m) >= t]
        )
    assert {m.epoch for m in time.client.latents} >= {epoch}
    assert max(m.epoch for m in time.client.latents) == epoch


def test_a_paused_clock_silences_the_sensors_but_not_the_node(start_node, client, bundle) -> None:
    """Ages are measured by the steady clock: heartbeats come, and afterwards all goes on."""
    names = ("rgb", "action")
    limits = {f"modalities.{n}.max_age_s": 0.5 for n in names}
    start_node(bundle=bundle, parameters=limits | {"use_sim_time": True})
    client.activate()
    time = SimulatedTime(client)
    time.start(1000 * SECOND)
    epoch = time.play_until(*names, condition=time.valid)[-1].epoch
    client.latents.clear()
    client.until(lambda: sum(m.status == LatentState.NO_INPUT for m in client.latents) >= 3)
    blind = client.latents[-1]
    assert status_of(blind, "rgb").state == ModalityStatus.STALE
    assert stamp(blind) <= time.now_ns, "stamped by the paused clock"
    client.latents.clear()
    resumed = time.play_until(*names, condition=time.valid)
    assert resumed[0].epoch == epoch, "a pause is no jump"


def test_sensors_under_a_paused_clock_may_run_ahead_only_a_little(
    start_node, client, bundle, strict
) -> None:
    soon = {"modalities.action.max_age_s": 0.5}  # then heartbeats tell of what was refused
    start_node(bundle=bundle, parameters=strict | soon | {"use_sim_time": True})
    client.activate()
    time = SimulatedTime(client)
    time.start(1000 * SECOND)
    time.play_until("action", condition=time.valid)
    paused = time.now_ns
    steps = count(1)

    def refused() -> bool:
        client.publish("action", paused + next(steps) * STEP)
        client.spin(0.03)
        return bool(status_of(client.latents[-1], "action").rejected >= 10)

    client.until(refused)
    assert max(stamp(m) for m in time.valid()) <= paused + SECOND // 2


def test_before_the_clock_starts_stamps_are_taken_as_they_are(time: SimulatedTime) -> None:
    """Messages of a bag may come before its first /clock; its start is then a jump forward."""
    client = time.client
    steps = count(1)

    def first() -> list[LatentState]:
        client.publish("action", 1000 * SECOND + next(steps) * STEP)
        return time.valid()

    latents = client.until(first)
    assert fused(latents[-1]) == ("action",)
    time.now_ns = 1000 * SECOND + next(steps) * STEP
    latents = time.play_until(
        "action", condition=lambda: [m for m in time.valid() if m.epoch > latents[-1].epoch]
    )
    assert fused(latents[-1]) == ("action",)


def test_live_sensors_beside_an_old_clock_are_rejected_with_a_reason(time: SimulatedTime) -> None:
    """A camera that ignores use_sim_time: today's stamps, a clock of long ago."""
    client = time.client
    time.now_ns = 1000 * SECOND
    time.tick()

    def refused() -> list[LatentState]:
        time.tick()
        client.publish("rgb", client.now_ns())
        client.spin(0.03)
        return [m for m in client.latents if status_of(m, "rgb").state == ModalityStatus.REJECTED]

    client.until(refused)
    assert not time.valid()


def test_a_clock_that_begins_at_0_goes_past_stamps_of_before_it(time: SimulatedTime) -> None:
    """A camera that ignores use_sim_time was there before the simulator: begun by no jump."""
    client = time.client

    def first() -> list[LatentState]:
        client.publish("rgb", client.now_ns())
        return time.valid()

    client.until(first)
    time.now_ns = 0
    latents = time.play_until(
        "action", condition=lambda: [m for m in time.valid() if fused(m) == ("action",)]
    )
    assert stamp(latents[0]) < 60 * SECOND


def test_one_message_out_of_order_is_no_restart(start_node, client, bundle, strict) -> None:
    start_node(bundle=bundle, parameters=strict)
    client.activate()
    client.play_until(("rgb", "action"), lambda: [m for m in client.latents if m.valid])
    epoch = client.latents[-1].epoch
    old = client.now_ns() - 60 * SECOND

    def told() -> tuple[int, int]:
        action = status_of(client.latents[-1], "action")
        return action.received, action.rejected

    for rejected in range(1, 4):  # each is waited for: in a queue of one the next takes its place
        client.publish("action", old)
        client.play_until(("rgb",), lambda n=rejected: told()[1] == n)
        received = told()[0]
        client.play_until(("rgb", "action"), lambda n=received: told()[0] > n)
    client.latents.clear()
    client.play_until(("rgb", "action"), lambda: [m for m in client.latents if len(fused(m)) == 2])
    assert client.latents[-1].epoch == epoch


def test_a_bag_that_loops_without_a_clock_begins_one_epoch(
    start_node, client, bundle, strict
) -> None:
    """Judged per topic, and the reset concerns all: not one epoch per topic that restarts."""
    start_node(bundle=bundle, parameters=strict)
    client.activate()
    begin = client.now_ns() - 3600 * SECOND
    names = ("rgb", "depth", "action")

    def loop(after: int) -> int:
        """Play from the begin until an epoch after that one has lasted; return which."""
        client.latents.clear()
        steps = count()

        def lasts() -> list[int]:
            step = next(steps)
            for name in names:
                client.publish(name, begin + step * STEP)
            client.spin(0.04)
            whole = Counter(m.epoch for m in client.latents if m.valid and fused(m) == names)
            return [e for e, latents in whole.items() if e > after and latents >= 15]

        found: int = client.until(lasts)[0]
        assert client.latents[-1].epoch == found
        return found

    epoch = loop(0)
    assert loop(epoch) <= epoch + len(names)


def test_stamps_that_jump_back_all_the_time_are_warned_of_instead_of_told_each_time(
    start_node, client, bundle, strict
) -> None:
    """Two drivers on one topic whose clocks differ: no bag loops like that."""
    process = start_node(bundle=bundle, parameters=strict)
    client.activate()
    begin, steps = client.now_ns() - 3600 * SECOND, count()
    first = client.latents[-1].epoch

    def log() -> str:
        step = next(steps)  # two messages of the one, two of the other, and so on
        client.publish("action", begin + step * STEP - step // 2 % 2 * 60 * SECOND)
        client.spin(0.04)
        return process.text()

    client.until(lambda: "WARN" in (text := log()) and "action: its stamps jumped back" in text)
    assert "let one driver publish there, and each message once" in process.text()

    def fewer_told_than_there_were() -> bool:
        told = log().count("stamps of action jumped back: all samples dropped")
        return told < client.latents[-1].epoch - first

    client.until(fewer_told_than_there_were)


def test_a_clock_that_jumps_all_the_time_is_warned_of_instead_of_told_each_time(
    start_node, client, bundle, strict
) -> None:
    """Two bags that are played at once, each with its own clock."""
    process = start_node(bundle=bundle, parameters=strict | {"use_sim_time": True})
    client.activate()
    time, ticks = SimulatedTime(client), count()
    time.start(7200 * SECOND)

    def log() -> str:
        time.tick((-1) ** next(ticks) * 3600 * SECOND)
        return process.text()

    client.until(lambda: "the clock jumped 4 times in 5 s" in log())
    assert "/clock has 1 publisher(s); let one publish there" in process.text()
