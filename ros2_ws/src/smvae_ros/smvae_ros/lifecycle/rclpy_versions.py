"""What Humble's rclpy has elsewhere or lacks; Jazzy's and Lyrical's have all that is used here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

__all__ = ["TELLS_MATCHES", "SubscriptionEventCallbacks", "UnsupportedEventTypeError", "after_set"]

#: Whether a subscription can be told that publishers came or went; Humble's cannot.
TELLS_MATCHES = "matched" in inspect.signature(SubscriptionEventCallbacks).parameters


def after_set(node: Node, callback: Callable[[list[Any]], None]) -> None:
    """Have parameters handed on once they are set.

    Humble has no callback for that. There the executor runs it next, after the call that sets them;
    a call that was refused is handed on too, and has changed nothing.
    """
    if hasattr(node, "add_post_set_parameters_callback"):
        node.add_post_set_parameters_callback(callback)
        return

    def soon(changes: list[Any]) -> SetParametersResult:
        if node.executor is not None:
            node.executor.create_task(callback, changes)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(soon)
