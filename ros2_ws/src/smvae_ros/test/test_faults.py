"""Faults of our own: no message may end the process or stop the thread, and each is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import pytest
from in_process_node import InProcess
from lifecycle_msgs.msg import Transition
from node_harness import fused, status_of
from rclpy.clock import ClockChange
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from smvae_ros.lifecycle.guards import surviving
from smvae_ros.listen import inputs as inputs_module
from smvae_ros.listen.mailbox import Mailbox
from smvae_ros.perception_node import PerceptionNode
from std_srvs.srv import Trigger

from smvae_core import runtime as runtime_module
from smvae_core import settings
from smvae_core.fusion.source import Source
from smvae_core.preprocessing import prepare


@pytest.fixture
def node(client: Any, bundle: Any, domain: int, strict: Any) -> Iterator[PerceptionNode]:
    """An active node in this process, so that its parts can be broken."""
    with InProcess(domain, bundle=str(bundle), **strict) as node:
        client.activate()
        yield node


def test_a_callback_that_fails_is_counted_and_the_next_message_is_taken(
    client, node, monkeypatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "receive", broken)
        inputs = node._session.inputs
        for name in ("rgb", "force", "action"):
            before = inputs.errors
            client.publish(name, client.now_ns())
            client.until(lambda n=before: inputs.errors > n)
    client.latents.clear()
    client.play_until(("action",), lambda: [m for m in client.latents if fused(m)])
    assert client.state() == "active"


def test_bytes_that_are_not_of_a_topics_type_are_counted_and_said(client, node) -> None:
    """As of a publisher that is built with another definition of the type: it does match."""
    mailbox = node._session.mailbox
    for name, message_type in (("rgb", "sensor_msgs/msg/Image"), ("force", "WrenchStamped")):

        def refused(name: str = name) -> str:
            client.publish(name, 0, b"\x00\x01\x00\x00of another definition")
            client.spin(0.02)
            status = mailbox.observe().status[name]
            return status.reason if status.reject_reasons.get("unreadable") else ""

        reason = client.until(refused)
        assert f"{name}: unreadable: its bytes are no " in reason
        assert message_type in reason
    client.play_until(("rgb", "force"), lambda: [m for m in client.latents if len(fused(m)) == 2])
    assert client.state() == "active"


def test_a_stamp_that_no_time_can_be_ends_no_thread(client, node) -> None:
    """DDS's infinite time, as of a driver that copies it: more than a Time's seconds can count.

    A sensor of which nothing else came is shown with the stamp of the message that was refused.
    """
    endless = client.message("rgb", client.modalities["rgb"].example_sample(1), 0)
    endless.header.stamp.sec, endless.header.stamp.nanosec = 2**31 - 1, 2**32 - 1

    def refused() -> list[Any]:
        client.publish("rgb", 0, endless)
        client.moment(("action",))
        client.spin(0.05)
        return [m for m in client.latents if fused(m) and status_of(m, "rgb").rejected]

    rgb = status_of(client.until(refused)[0], "rgb")
    assert (rgb.stamp.sec, rgb.stamp.nanosec) == (2**31 - 1, 10**9 - 1)
    assert "future stamp" in rgb.reason
    assert client.state() == "active"


def test_a_dead_thread_leaves_active_also_where_its_error_cannot_be_published(
    client, node, monkeypatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    outputs = node._session.outputs
    monkeypatch.setattr(outputs, "publish", broken)
    monkeypatch.setattr(outputs, "publish_blind", broken)
    client.play_until(("action",), lambda: client.state() == "inactive")
    assert node.failure.startswith("inference stopped: RuntimeError: a fault of ours")


def read_by(source: Source, to_array: Any) -> Source:
    """Return a source whose messages are read by another function."""
    return replace(source, converter=replace(source.converter, to_array=to_array))


def test_a_conversion_that_fails_unforeseen_rejects_the_message_by_the_errors_name(
    client, node
) -> None:
    def broken(*_: Any) -> Any:
        raise IndexError("nobody thought of this")

    session = node._session
    sources = session.inference.perceiver._sources
    healthy = sources["rgb"]
    sources["rgb"] = read_by(healthy, broken)
    client.play_until(
        ("rgb", "action"),
        lambda: [m for m in client.latents if m.valid and status_of(m, "rgb").rejected],
    )
    status = session.mailbox.observe().status["rgb"]
    assert set(status.reject_reasons) == {"unforeseen IndexError"}
    assert all(fused(m) == ("action",) for m in client.latents if m.valid)
    sources["rgb"] = healthy
    client.play_until(("rgb", "action"), lambda: [m for m in client.latents if len(fused(m)) == 2])
    assert session.inference.alive


def test_preprocessing_that_fails_on_a_message_refuses_it_and_the_thread_lives(
    client, node, monkeypatch
) -> None:
    def broken(modality: Any, *rest: Any) -> Any:
        if modality.name == "rgb":
            raise cv2.error("resize: inv_scale_x > 0")
        return prepare(modality, *rest)

    session = node._session
    with monkeypatch.context() as patch:
        patch.setattr(runtime_module, "prepare", broken)
        client.play_until(
            ("rgb", "action"),
            lambda: [m for m in client.latents if m.valid and status_of(m, "rgb").rejected],
        )
    assert set(session.mailbox.observe().status["rgb"].reject_reasons) == {"unforeseen error"}
    client.play_until(("rgb", "action"), lambda: [m for m in client.latents if len(fused(m)) == 2])
    assert session.inference.alive


def test_a_reading_that_fails_unforeseen_is_a_rejection(client, node) -> None:
    def broken(*_: Any) -> Any:
        raise IndexError("nobody thought of this")

    inputs, sources = node._session.inputs, node._session.mailbox._engine._sources
    healthy = sources["force"]
    sources["force"] = read_by(healthy, broken)
    client.play_until(
        ("force", "action"),
        lambda: [m for m in client.latents if m.valid and status_of(m, "force").rejected],
    )
    status = node._session.mailbox.observe().status["force"]
    assert set(status.reject_reasons) == {"unforeseen IndexError"}
    assert inputs.errors == 0
    sources["force"] = healthy
    client.play_until(
        ("force", "action"), lambda: [m for m in client.latents if len(fused(m)) == 2]
    )


def test_services_and_parameters_that_fail_answer_why_and_the_node_lives(
    client, node, monkeypatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "flush", broken)
        patch.setattr(settings, "check", broken)
        answer = client.call(Trigger, "/smvae/reset", Trigger.Request())
        assert not answer.success
        assert answer.message == "on_reset failed: RuntimeError: a fault of ours"
        refused = client.set_parameter("max_rate_hz", 20.0)
        assert not refused.successful
        assert refused.reason == "check failed: RuntimeError: a fault of ours"
        change = {"clock_change": ClockChange.ROS_TIME_NO_CHANGE, "delta": -1}
        node._jump._post_callback(change)  # as rclpy calls it when /clock jumps
    assert client.set_parameter("max_rate_hz", 20.0).successful
    assert client.call(Trigger, "/smvae/reset", Trigger.Request()).success
    assert client.state() == "active"


def test_a_callback_that_survives_answers_in_its_place(node) -> None:
    def jumped(jump: Any) -> None:
        raise KeyError(jump)

    assert surviving(node, jumped)("back") is None
    assert surviving(node, jumped, lambda reason, jump: (reason, jump))("back") == (
        "jumped failed: KeyError: 'back'",
        "back",
    )
    assert surviving(node, lambda jump: jump)("on") == "on"


def test_counts_begin_anew_with_every_activation(client, node) -> None:
    session = node._session
    session.inputs.errors, session.mailbox._engine.missed = 3, 5
    assert client.change(Transition.TRANSITION_DEACTIVATE)
    assert client.change(Transition.TRANSITION_ACTIVATE)
    assert (session.inputs.errors, session.mailbox.missed) == (0, 0)


def test_a_middleware_without_the_matched_event_is_taken_as_it_is(
    client, node, monkeypatch
) -> None:
    """Whether anybody publishes is then not known: what is silent is STALE, and all is fused."""

    class Unable(SubscriptionEventCallbacks):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            if self.matched is not None:
                raise UnsupportedEventTypeError("not by this middleware")

    assert client.change(Transition.TRANSITION_DEACTIVATE)
    monkeypatch.setattr(inputs_module, "SubscriptionEventCallbacks", Unable)
    node._session.mailbox.set_publishers("rgb", None)
    assert client.change(Transition.TRANSITION_ACTIVATE)
    client.latents.clear()
    client.play_until(("rgb", "action"), lambda: [m for m in client.latents if len(fused(m)) == 2])
