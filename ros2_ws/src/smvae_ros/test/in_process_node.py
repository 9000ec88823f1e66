"""A perception node in the test's own process, in a thread, so that its model can break."""

from __future__ import annotations

import gc
import threading
from types import SimpleNamespace
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from smvae_ros.perception_node import PerceptionNode
from smvae_ros.report import resources

#: The node's collector while it is in this process. The real one would go through all that the
#: tests have loaded, half a million objects, three times a test: that was two thirds of its time.
#: What a model leaves behind is for a process of its own to show (test_lifecycle_leaks.py).
IDLE = SimpleNamespace(collect=lambda: 0, freeze=lambda: None, unfreeze=lambda: None)


class InProcess:
    """Context manager: the node, unconfigured, on a domain; all of it is gone afterwards."""

    def __init__(self, domain: int, **parameters: Any) -> None:
        self._domain = domain
        self._parameters = [Parameter(name, value=value) for name, value in parameters.items()]

    def __enter__(self) -> PerceptionNode:
        resources.gc = IDLE
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=self._domain)
        self._node = PerceptionNode(context=self._context, parameter_overrides=self._parameters)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        return self._node

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._thread.join(60.0)
        self._node.release()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)
        resources.gc = gc


def break_means(runtime: Any, number: float) -> None:
    """Let posteriors' means have this number, until `del runtime.posteriors`."""
    healthy = runtime.posteriors

    def broken(subsets: Any) -> Any:
        found = healthy(subsets)
        for posterior in found:
            posterior.mean[0] = number
        return found

    runtime.posteriors = broken
