"""The middleware misbehaves, over real DDS: incompatible QoS, overrides, wrong types; the timer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from node_harness import RELIABLE, fused, status_of
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from smvae_msgs.msg import ModalityStatus


def text(process: Any) -> str:
    return str(process.log.read_text())


@pytest.fixture
def entries(client) -> Callable[[str], list[DiagnosticStatus]]:
    """The newest diagnostics of one modality, as a list to wait for."""
    received = client.listen(DiagnosticArray, "/diagnostics")

    def of(name: str) -> list[DiagnosticStatus]:
        found = [s for m in received[-1:] for s in m.status]
        return [s for s in found if s.name == f"smvae: modality {name}"]

    return of


def test_an_incompatible_publisher_shows_until_it_is_mended(
    start_node, client, bundle, strict, entries
) -> None:
    """A reliable subscription by override: a best-effort camera is not heard, and that is said."""
    override = {"qos_overrides./rgb/image.subscription.reliability": "reliable"}
    process = start_node(bundle=bundle, parameters=strict | override, diagnostics_period_s=0.1)
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert client.change(Transition.TRANSITION_ACTIVATE)
    complaint = client.until(lambda: [s for s in entries("rgb") if "RELIABILITY" in s.message])[0]
    assert complaint.level == DiagnosticStatus.ERROR
    assert "/rgb/image" in complaint.message
    client.until(
        lambda: "/rgb/image: a publisher offers an incompatible RELIABILITY" in text(process)
    )
    client.until(lambda: client.latents)
    assert status_of(client.latents[-1], "rgb").state == ModalityStatus.ABSENT
    client.retire("rgb")
    client.revive("rgb", RELIABLE)
    client.play_until(("rgb",), lambda: [m for m in client.latents if fused(m) == ("rgb",)])
    client.until(lambda: [s for s in entries("rgb") if s.message != complaint.message])


def test_every_sensor_that_is_not_heard_is_named_in_the_log(start_node, client, bundle) -> None:
    """All at once, as when a robot starts: one line must not hold back the others."""
    topics = {"rgb": "rgb/image", "depth": "depth/image", "force": "wrench", "action": "action"}
    overrides = {
        f"qos_overrides./{t}.subscription.reliability": "reliable" for t in topics.values()
    }
    process = start_node(bundle=bundle, parameters=overrides)
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert client.change(Transition.TRANSITION_ACTIVATE)
    for name, topic in topics.items():
        said = f"{name}: /{topic}: a publisher offers an incompatible RELIABILITY"
        client.until(lambda said=said: said in text(process))
    assert status_of(client.until(lambda: client.latents)[-1], "rgb").reason == (
        "no publisher matches: none is there, or its type or QoS differs"
    )


def test_qos_overrides_reach_the_subscription(start_node, client, bundle, strict) -> None:
    """Read back through the graph, as `ros2 topic info --verbose` does."""
    overrides = {
        "qos_overrides./rgb/image.subscription.reliability": "reliable",
        "qos_overrides./rgb/image.subscription.depth": 7,
    }
    start_node(bundle=bundle, parameters=strict | overrides)
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert client.change(Transition.TRANSITION_ACTIVATE)

    def reliability(topic: str) -> list[ReliabilityPolicy]:
        found = client.node.get_subscriptions_info_by_topic(topic)
        return [s.qos_profile.reliability for s in found if s.node_name != client.node.get_name()]

    client.until(lambda: reliability("/rgb/image") and reliability("/depth/image"))
    assert reliability("/rgb/image") == [ReliabilityPolicy.RELIABLE]
    assert reliability("/depth/image") == [ReliabilityPolicy.BEST_EFFORT]
    depth = client.get_parameter("qos_overrides./rgb/image.subscription.depth")
    assert depth.integer_value == 7
    assert client.get_parameter("qos_overrides./wrench.subscription.depth").integer_value == 50
    refused = client.set_parameter("qos_overrides./rgb/image.subscription.depth", 3)
    assert not refused.successful, "read-only once subscribed"


def test_an_override_that_is_not_taken_is_warned_of(start_node, client, bundle) -> None:
    """A policy that may not be overridden, a topic that nobody subscribes to, a publisher."""
    ignored = {
        "qos_overrides./rgb/image.subscription.durability": "transient_local",
        "qos_overrides.rgb/image.subscription.reliability": "reliable",
        "qos_overrides./smvae/latent.publisher.reliability": "best_effort",
    }
    taken = {"qos_overrides./rgb/image.subscription.reliability": "reliable"}
    process = start_node(bundle=bundle, parameters=ignored | taken)
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert client.change(Transition.TRANSITION_ACTIVATE)
    client.until(lambda: text(process).count("is ignored: only reliability") == len(ignored))
    assert all(f"parameter {name} is ignored" in text(process) for name in ignored)


@pytest.mark.parametrize(("policy", "value"), [("reliability", "perfect"), ("depth", -1)])
def test_a_wrong_override_fails_activate_with_its_reason(
    start_node, client, bundle, policy: str, value: Any
) -> None:
    wrong = {f"qos_overrides./rgb/image.subscription.{policy}": value}
    process = start_node(bundle=bundle, parameters=wrong)
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert not client.change(Transition.TRANSITION_ACTIVATE)
    said = "activate failed: rgb cannot subscribe to /rgb/image; is a qos_overrides./rgb/image"
    client.until(lambda: said in text(process))


def test_a_topic_of_another_type_shows_in_diagnostics(
    start_node, client, bundle, strict, entries
) -> None:
    """Compressed images where raw ones are expected: nothing arrives, and that is said."""
    process = start_node(
        bundle=bundle,
        parameters=strict | {"modalities.rgb.topic": "camera/compressed"},
        diagnostics_period_s=0.1,
    )
    camera = client.node.create_publisher(CompressedImage, "camera/compressed", 1)
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert client.change(Transition.TRANSITION_ACTIVATE)
    wanted = "publishes sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/Image"
    entry = client.until(lambda: [s for s in entries("rgb") if wanted in s.message])[0]
    assert entry.level == DiagnosticStatus.ERROR
    client.until(lambda: f"rgb: /camera/compressed: client {wanted}" in text(process))
    client.node.destroy_publisher(camera)
    client.until(lambda: [s for s in entries("rgb") if wanted not in s.message])


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
    started, sent = time.monotonic(), 0
    while sum(m.valid for m in client.latents) < 5:
        assert time.monotonic() - started < client.patience_s
        client.publish("action", client.now_ns())
        client.spin(0.01)
        sent += 1
    elapsed = time.monotonic() - started
    valid = [m for m in client.latents if m.valid]
    assert len(valid) <= min(5.0 * elapsed + 2, sent / 2)  # at most one per period and the ends
