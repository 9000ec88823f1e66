"""The clock and the middleware misbehave: jumps of /clock, a paused clock, incompatible QoS."""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rosgraph_msgs.msg import Clock
from smvae_msgs.msg import LatentState

SECOND = 10**9


def _tick(publisher: Any, now_ns: int) -> None:
    message = Clock()
    message.clock.sec, message.clock.nanosec = divmod(now_ns, SECOND)
    publisher.publish(message)


def test_a_backward_jump_of_clock_drops_everything(start_node, client, bundle, strict) -> None:
    start_node(bundle=bundle, parameters=strict | {"use_sim_time": True})
    clock = client.node.create_publisher(Clock, "/clock", 10)
    client.activate()  # heartbeats come although /clock has not started
    client.until(clock.get_subscription_count)

    def play(now_ns: int) -> list[LatentState]:
        _tick(clock, now_ns)
        client.spin(0.02)
        client.publish("action", now_ns)
        return [m for m in client.latents if m.valid]

    ticks = iter(range(1000 * SECOND, 2000 * SECOND, SECOND // 20))
    epoch = client.until(lambda: play(next(ticks)))[-1].epoch
    client.latents.clear()
    again = iter(range(10 * SECOND, 1000 * SECOND, SECOND // 20))
    latent = client.until(lambda: [m for m in play(next(again)) if m.epoch > epoch])[0]
    assert latent.header.stamp.sec < 1000
    assert not [m for m in client.latents if m.epoch > epoch and m.header.stamp.sec >= 1000]


def test_an_incompatible_publisher_shows_in_diagnostics(start_node, client, bundle, strict) -> None:
    override = {"qos_overrides./rgb/image.subscription.reliability": "reliable"}
    process = start_node(bundle=bundle, parameters=strict | override, diagnostics_period_s=0.1)
    diagnostics = client.listen(DiagnosticArray, "/diagnostics")
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert client.change(Transition.TRANSITION_ACTIVATE)

    def complaints() -> list[DiagnosticStatus]:
        entries = [s for m in diagnostics for s in m.status]
        return [
            s for s in entries if s.name == "smvae: modality rgb" and "RELIABILITY" in s.message
        ]

    assert client.until(complaints)[0].level == DiagnosticStatus.ERROR
    assert "incompatible RELIABILITY" in process.log.read_text()


def test_a_failed_configure_shows_in_diagnostics(start_node, client) -> None:
    start_node(bundle="/nowhere", diagnostics_period_s=0.1)
    diagnostics = client.listen(DiagnosticArray, "/diagnostics")
    assert not client.change(Transition.TRANSITION_CONFIGURE)
    client.until(
        lambda: [
            s
            for m in diagnostics
            for s in m.status
            if s.name == "smvae: model"
            and s.level == DiagnosticStatus.ERROR
            and "/nowhere: no such folder" in s.message
        ]
    )


def test_the_timer_trigger_keeps_its_rate(start_node, client, bundle, strict) -> None:
    start_node(bundle=bundle, parameters=strict | {"max_rate_hz": 5.0}, trigger="timer")
    client.activate()
    client.latents.clear()
    started = time.monotonic()
    for _ in range(100):
        client.publish("action", client.now_ns())
        client.spin(0.01)
    elapsed = time.monotonic() - started
    valid = [m for m in client.latents if m.valid]
    assert 2 <= len(valid) <= 5.0 * elapsed + 2  # not 100: at most one per period and the ends
