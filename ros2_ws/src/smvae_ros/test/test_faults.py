"""Faults of our own: no message may end the process or stop the thread, and each is counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import rclpy
from node_harness import fused, status_of
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from smvae_ros.mailbox import Mailbox
from smvae_ros.perception_node import PerceptionNode

from smvae_core.conversions import CONVERTERS, converter


@pytest.fixture
def node(client: Any, bundle: Any, domain: int, strict: Any) -> Iterator[PerceptionNode]:
    """An active node in this process, so that its parts can be broken."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    given = strict | {"bundle": str(bundle)}
    node = PerceptionNode(
        context=context, parameter_overrides=[Parameter(n, value=v) for n, v in given.items()]
    )
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        client.activate()
        yield node
    finally:
        executor.shutdown()
        thread.join(10.0)
        node.release()
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_a_callback_that_fails_is_counted_and_the_next_message_is_taken(
    client, node, monkeypatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "put", broken)
        inputs = node._session.inputs
        for name in ("rgb", "force", "action"):
            before = inputs.errors
            client.publish(name, client.now_ns())
            client.until(lambda n=before: inputs.errors > n)
    client.latents.clear()
    client.play_until(("action",), lambda: [m for m in client.latents if fused(m)], 30.0)
    assert client.state() == "active"


def test_a_conversion_that_fails_unforeseen_rejects_the_message_by_the_errors_name(
    client, node
) -> None:
    def broken(*_: Any) -> Any:
        raise IndexError("nobody thought of this")

    session = node._session
    session.inference._converters["rgb"] = replace(converter("color_image"), to_array=broken)
    client.play_until(
        ("rgb", "action"),
        lambda: [m for m in client.latents if m.valid and status_of(m, "rgb").rejected],
        30.0,
    )
    status = session.mailbox.observe().status["rgb"]
    assert set(status.reject_reasons) == {"unforeseen IndexError"}
    assert all(fused(m) == ("action",) for m in client.latents if m.valid)
    session.inference._converters["rgb"] = CONVERTERS["color_image"]
    client.play_until(
        ("rgb", "action"), lambda: [m for m in client.latents if len(fused(m)) == 2], 30.0
    )
    assert session.inference.alive
