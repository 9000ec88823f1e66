"""The node with what Humble's rclpy has: no matched event, no callback after a parameter is set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_process_node import InProcess
from node_harness import fused, nanoseconds
from rclpy.node import Node
from smvae_msgs.msg import LatentState
from smvae_ros.listen import inputs


@pytest.fixture
def humble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "TELLS_MATCHES", False)
    monkeypatch.delattr(Node, "add_post_set_parameters_callback")


def test_sensors_are_fused_and_parameters_obeyed_live_with_the_rclpy_of_humble(
    humble: None, client: Any, domain: int, bundle: Path, strict: dict[str, Any]
) -> None:
    with InProcess(domain, bundle=str(bundle), **strict):
        client.activate()
        client.play_until(("rgb", "action"), lambda: [m for m in client.latents if m.valid])
        refused = client.set_parameter("max_rate_hz", 5000.0)
        assert not refused.successful
        assert "max_rate_hz" in refused.reason
        assert client.set_parameter("modalities.rgb.enabled", False).successful
        since_ns = client.now_ns()  # a latent of before may still be on its way

        def later() -> list[LatentState]:
            return [
                m for m in client.latents if m.valid and nanoseconds(m.header.stamp) >= since_ns
            ]

        client.play_until(("rgb", "action"), later)
        assert {fused(m) for m in later()} == {("action",)}
