"""Parameters of an operator's node, which stay as they are while it runs."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from smvae_core.errors import ConfigError


def declare_fixed(node: Node, name: str, default: Any, text: str) -> Any:
    """Declare a read-only parameter with its meaning; return its value.

    Raises:
        ConfigError: If what was given at the start is refused.
    """
    descriptor = ParameterDescriptor(description=text, read_only=True)
    try:
        return node.declare_parameter(name, default, descriptor).value
    except Exception as err:  # rclpy's own classes, which differ between releases
        raise ConfigError(f"parameter refused: {err}") from err
