"""Our other nodes as processes, and a plain subscriber, on a domain of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from forked import Forked, Nursery
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from smvae_ros.lifecycle.service_client import connect

RELIABLE = QoSProfile(depth=2000, reliability=ReliabilityPolicy.RELIABLE)


#: Begun with the first process; conftest ends it with the tests.
nurseries: list[Nursery] = []


class Process:
    """Python code as a process on a domain: forked, or fresh where the start itself is tested."""

    def __init__(
        self, code: str, domain: int, log: Path, *arguments: str, fresh: bool = False
    ) -> None:
        self.log = log
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "PYTHONUNBUFFERED": "1",
        }
        log.touch()
        self.process: subprocess.Popen[bytes] | Forked
        if not nurseries:
            nurseries.append(Nursery())
        if not fresh and nurseries[0].may_fork(environment):
            self.process = nurseries[0].fork(code, arguments, environment, log)
            return
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def interrupt(self, timeout_s: float = 60.0) -> int:
        """Send SIGINT and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout_s)

    def end(self) -> None:
        """Ask it to end; make sure that it is gone.

        One that is killed leaves its shared memory behind, 32 MB with our profile.
        """
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def gives_up(self, said: str, timeout_s: float = 60.0) -> None:
        """Assert that it ends by itself with status 1 and says this, without a stack trace."""
        try:
            assert self.process.wait(timeout_s) == 1
        finally:
            self.end()
        assert said in self.text()
        assert "Traceback" not in self.text()


class Program(Process):
    """One module's `main` as a process, e.g. of smvae_tools.bags.player."""

    def __init__(self, module: str, domain: int, log: Path, *arguments: str) -> None:
        code = f"import sys; from {module} import main; sys.exit(main())"
        super().__init__(code, domain, log, *arguments)


class Listener:
    """A node of the test's own."""

    patience_s = 60.0

    def __init__(self, domain: int, name: str = "listener") -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def listen(self, message_type: Any, topic: str, qos: Any = RELIABLE) -> list[Any]:
        """Return a list that fills with the messages of a topic."""
        received: list[Any] = []
        self.node.create_subscription(message_type, topic, received.append, qos)
        return received

    def came_true(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Spin until a condition holds or the time is over; return whether it held."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True

    def others(self, direction: str) -> dict[str, str]:
        """Return the topics that others "publish" or "subscribe" to, with their types.

        By endpoint, not by the name of a node: which endpoints are a node's is told in one message
        that a reader of Fast DDS may never get (eProsima/Fast-DDS 3822), endpoints reach everyone.
        """
        node = self.node
        query = {
            "publish": node.get_publishers_info_by_topic,
            "subscribe": node.get_subscriptions_info_by_topic,
        }[direction]
        return {
            topic: end.topic_type
            for topic, _ in node.get_topic_names_and_types()
            for end in query(topic)
            if end.node_name != node.get_name()
        }

    def others_services(self) -> dict[str, str]:
        """Return the services that others offer, with their types; by endpoint, as `others`."""
        node = self.node
        own = dict(node.get_service_names_and_types_by_node(node.get_name(), node.get_namespace()))
        offered = node.get_service_names_and_types()
        return {name: types[0] for name, types in offered if name not in own}

    def until(self, condition: Callable[[], Any], timeout_s: float | None = None) -> Any:
        """Spin until a condition holds and return its value; fail after the timeout."""
        timeout_s = self.patience_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"nothing within {timeout_s} s"
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def still(self, value: Callable[[], Any], still_s: float = 0.5) -> Any:
        """Spin until a value has stayed as it is for a time, and return it."""
        last = value()
        while self.came_true(lambda before=last: value() != before, still_s):
            last = value()
        return last

    def caller(self, service_type: Any, name: str) -> Callable[[Any], Any]:
        """Return a function that calls a service and keeps its client: for many calls."""
        kept = connect(self.node, service_type, name, self.came_true, self.patience_s)

        def call(request: Any) -> Any:
            future = kept.call_async(request)
            self.until(future.done)
            return future.result()

        return call

    def call(
        self, service_type: Any, name: str, request: Any, timeout_s: float | None = None
    ) -> Any:
        timeout_s = self.patience_s if timeout_s is None else timeout_s
        client = connect(self.node, service_type, name, self.came_true, timeout_s)
        future = client.call_async(request)
        self.until(future.done, timeout_s)
        self.node.destroy_client(client)
        return future.result()


def stamp(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)
