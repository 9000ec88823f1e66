"""Sensors that stop, return, are started again or send too much, over real DDS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from node_harness import (
    BEST_EFFORT,
    RELIABLE,
    Client,
    active_node,
    fused,
    nanoseconds,
    status_of,
)
from smvae_msgs.msg import LatentState, ModalityStatus

from smvae_core.presets import VISION_TOUCH

NAMES = tuple(m.name for m in VISION_TOUCH)
pytestmark = pytest.mark.dds


@pytest.fixture(scope="module")
def active(bundle: Any, modalities: Any, strict: Any, tmp_path_factory: Any) -> Iterator[Client]:
    """One active node that every test plays to."""
    log = tmp_path_factory.mktemp("dropout") / "node.log"
    with active_node(log, {"bundle": bundle, **strict}, modalities) as client:
        yield client


def play_until_fused(client: Client, played: tuple[str, ...], wanted: tuple[str, ...]) -> Any:
    client.latents.clear()
    return client.play_until(
        played, lambda: [m for m in client.latents if m.valid and fused(m) == wanted]
    )[-1]


@pytest.mark.parametrize("name", NAMES)
def test_each_sensor_drops_out_and_returns(active: Client, name: str) -> None:
    others = tuple(n for n in NAMES if n != name)
    play_until_fused(active, NAMES, NAMES)
    latent = play_until_fused(active, others, others)
    assert status_of(latent, name).state == ModalityStatus.STALE
    assert latent.status == LatentState.DEGRADED
    play_until_fused(active, NAMES, NAMES)


@pytest.mark.parametrize("profile", [BEST_EFFORT, RELIABLE], ids=["best effort", "reliable"])
@pytest.mark.parametrize("name", NAMES)
def test_a_driver_that_ends_is_absent_and_one_that_starts_again_is_fused(
    active: Client, name: str, profile: Any
) -> None:
    """Started again with another reliability: nothing was copied from the first."""
    others = tuple(n for n in NAMES if n != name)
    play_until_fused(active, NAMES, NAMES)
    active.retire(name)
    try:
        active.latents.clear()
        active.play_until(
            others,
            lambda: [
                m for m in active.latents if status_of(m, name).state == ModalityStatus.ABSENT
            ],
        )
    finally:
        active.revive(name, profile)
    play_until_fused(active, NAMES, NAMES)


def test_a_silent_sensor_becomes_stale_and_then_nothing_is_alive(
    start_node, client, bundle, strict
) -> None:
    limits = {"modalities.rgb.max_age_s": 0.2, "modalities.action.max_age_s": 0.2}
    start_node(bundle=bundle, parameters=strict | limits)
    client.activate()
    client.play_until(("rgb", "action"), lambda: [m for m in client.latents if m.valid])
    latent = play_until_fused(client, ("rgb",), ("rgb",))
    assert status_of(latent, "action").state == ModalityStatus.STALE
    client.latents.clear()
    client.until(lambda: [m for m in client.latents if m.status == LatentState.NO_INPUT])


def test_a_lost_sensor_is_fused_at_its_second_message(start_node, client, bundle, strict) -> None:
    """Each message is waited for, so that the order is known; the first ever counts at once."""
    limits = {"modalities.action.max_age_s": 1.0, "modalities.action.max_skew_s": 0.8}
    start_node(bundle=bundle, parameters=strict | limits)
    client.activate()

    sent = 0

    def send() -> LatentState:
        nonlocal sent
        sent += 1
        client.latents.clear()
        client.publish("action", client.now_ns())
        return client.until(
            lambda: [m for m in client.latents if status_of(m, "action").received == sent]
        )[0]

    assert fused(send()) == ("action",)
    while True:  # a machine that stalls for a second between two messages loses it again
        client.until(lambda: client.latents and not client.latents[-1].valid)
        started = time.monotonic()
        first, second = send(), send()
        assert not first.valid
        assert status_of(first, "action").state == ModalityStatus.STALE
        if time.monotonic() - started < 1.0:
            break
    assert fused(second) == ("action",)


def test_a_held_command_is_fused_and_flagged(start_node, client, bundle, strict) -> None:
    parameters = strict | {
        "modalities.rgb.max_age_s": 1.0,
        "modalities.action.max_age_s": 0.1,
        "modalities.action.hold_last_s": 30.0,
    }
    start_node(bundle=bundle, parameters=parameters)
    client.activate()
    client.publish("action", client.now_ns())
    client.until(lambda: [m for m in client.latents if fused(m) == ("action",)])
    client.spin(0.2)
    latent = play_until_fused(client, ("rgb",), ("rgb", "action"))
    assert status_of(latent, "action").held
    assert not status_of(latent, "rgb").held
    assert status_of(latent, "action").age.sec + status_of(latent, "action").age.nanosec > 0
    client.latents.clear()  # once rgb is silent, the held command alone makes no latent
    client.until(lambda: [m for m in client.latents if m.status == LatentState.NO_INPUT])
    assert status_of(client.latents[-1], "action").state == ModalityStatus.STALE


def test_a_burst_of_sensors_is_one_latent(start_node, client, bundle, strict) -> None:
    """At 20 Hz, below max_rate_hz: what is due is collected, and no second latent follows.

    The first moments teach the node the rhythm, and a stall of this machine may split later ones.
    Without collecting, each moment would give two latents or three, one of them whole.
    """
    burst = ("rgb", "depth", "action")
    parameters = strict | {"max_rate_hz": 30.0, "collect_timeout_s": 0.1}
    start_node(bundle=bundle, parameters=parameters)
    client.activate()

    def sets() -> list[tuple[str, ...]]:
        return [fused(m) for m in client.latents if m.valid]

    client.play_until(burst, lambda: sets()[-15:].count(burst) >= 12)


def test_five_times_the_rate_leaves_no_queue_behind(start_node, client, bundle, strict) -> None:
    """Cameras at 100 Hz, force at 2.5 kHz: the newest is used, and what came before is history.

    The messages of the last moment come one by one: a latent of some of them may be followed by one
    of all, with the same stamp. Only after that one there is nothing left to work off.
    """
    rate_hz = 20.0
    process = start_node(bundle=bundle, parameters=strict | {"max_rate_hz": rate_hz})
    client.activate()
    play_until_fused(client, NAMES, NAMES)
    client.latents.clear()
    started, started_ns = time.monotonic(), client.now_ns()

    def complete(moment: int) -> bool:
        return any(
            fused(m) == NAMES and all(nanoseconds(s.stamp) == moment for s in m.modalities)
            for m in client.latents
        )

    for _ in range(200):
        last = client.moment(NAMES)
        client.spin(0.005)
    while not client.came_true(partial(complete, last), 2.0):  # best effort: one may be lost
        assert time.monotonic() - started < 120.0
        last = client.moment(NAMES)
    valid = [m for m in client.latents if m.valid and nanoseconds(m.header.stamp) >= started_ns]
    assert len(valid) <= rate_hz * (time.monotonic() - started) + 2
    stamps = [nanoseconds(m.header.stamp) for m in valid]
    assert stamps == sorted(stamps), "no old moment comes after a newer one"
    client.latents.clear()
    client.spin(0.5)
    assert not [m for m in client.latents if m.valid], "nothing was left to work off"
    assert process.interrupt() == 0
