"""A node as a process: spin until SIGINT or SIGTERM, then take it down in order and exit 0."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from smvae_core.errors import SMVAEError


def run(make_node: Callable[[], Any], args: list[str] | None = None) -> int:
    """Run one node in this process and return the exit code.

    rclpy's own handlers would shut the context down under a node that is still active, so we take
    the signals, let the node shut down through its lifecycle, and only then end ROS.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stopping.append(received))
    try:
        node = make_node()
    except SMVAEError as err:
        print(f"error: {err}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stopping:
            executor.spin_once(timeout_sec=0.1)
    finally:
        if hasattr(node, "trigger_shutdown"):
            node.trigger_shutdown()
        executor.remove_node(node)
        node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
        # launch repeats the signal; one that met the interpreter's end would look like a crash
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    return 0
