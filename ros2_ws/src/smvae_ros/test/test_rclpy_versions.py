"""The node with what Humble's rclpy has: no matched event, no callback after a parameter is set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_process_node import InProcess
from node_harness import fused
from rclpy.node import Node
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
        client.latents.clear()
        client.play_until(("rgb", "action"), lambda: [m for m in client.latents if m.valid])
        assert {fused(m) for m in client.latents if m.valid} == {("action",)}
