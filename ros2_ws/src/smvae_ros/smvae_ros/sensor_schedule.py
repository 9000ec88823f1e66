"""Walks a robot through every combination of its sensors, to see a node under each of them.

Configures and activates the perception node, waits until a recorder listens, then switches sensors
by parameter and marks every switch on `/demo/schedule` (std_msgs/String holding JSON).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import Any

import rclpy
from rcl_interfaces.srv import ListParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from smvae_core.errors import SMVAEError
from smvae_ros.lifecycle_start import bring_up
from smvae_ros.service_client import connect

MARKS_TOPIC = "/demo/schedule"
#: Regular expression of what a recorder need not hear: ROS's own topics, what only people look at,
#: and camera_info and events, which may never come.
_UNRECORDED = re.compile(
    r"/rosout|/parameter_events|.*/(camera_info|[^/]*_event|color/image|debug/.*)"
)
_ORDERS_TRIED = 200
Lookup = Callable[[str, str], list[tuple[str, list[str]]]]


class ScheduleError(SMVAEError, RuntimeError):
    """A process that the schedule needs does not answer or refuses."""


class Interrupted(ScheduleError):
    """SIGINT or SIGTERM came."""


def awaits_recording(topic: str) -> bool:
    """Return whether the schedule waits until the recorder listens to this topic."""
    return not _UNRECORDED.fullmatch(topic)


def schedule(sensors: Sequence[str], seed: int) -> list[tuple[str, ...]]:
    """Return every subset of the sensors once, none included, in an order with many flips.

    Of 200 seeded shuffles it takes the one with the most flips between neighbours.
    """
    states = [
        tuple(s for s, on in zip(sensors, bits, strict=True) if on)
        for bits in product((False, True), repeat=len(sensors))
    ]
    rng = random.Random(seed)

    def flips(order: list[tuple[str, ...]]) -> int:
        return sum(len(set(a) ^ set(b)) for a, b in pairwise(order))

    return max((rng.sample(states, len(states)) for _ in range(_ORDERS_TRIED)), key=flips)


class ScheduleWalker(Node):
    """Talks to the robot, the perception node and the recorder."""

    def __init__(self, *, robot: str, perception: str, timeout_s: float, **kwargs: Any) -> None:
        """Make clients.

        Args:
            robot: Full name of the simulated robot's node.
            perception: Full name of the lifecycle node.
            timeout_s: How long to wait for any answer.
            kwargs: For Node.
        """
        super().__init__("sensor_schedule", start_parameter_services=False, **kwargs)
        self._robot, self._perception, self._timeout_s = robot, perception, timeout_s
        self._marks = self.create_publisher(
            String, MARKS_TOPIC, QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        )
        self.interrupted = False

    def wait_for(self, what: str, ready: Callable[[], bool], timeout_s: float) -> None:
        """Turn the executor until `ready`.

        Raises:
            ScheduleError: If it does not come true in time.
            Interrupted: On SIGINT.
        """
        if not self._came_true(ready, timeout_s):
            raise ScheduleError(f"waited {timeout_s:g} s for {what}, which did not come")

    def _came_true(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Turn the executor until `ready` or the time is over; return whether it was."""
        end_s = time.monotonic() + seconds
        while not ready():
            if self.interrupted:
                raise Interrupted("interrupted")
            if time.monotonic() > end_s:
                return False
            rclpy.spin_once(self, timeout_sec=0.05)
        return True

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service and return its response.

        Raises:
            ScheduleError: If it is not offered or does not answer in time.
        """
        try:
            client = connect(self, service_type, name, self._came_true, self._timeout_s)
        except TimeoutError as err:
            raise ScheduleError(str(err)) from err
        try:
            future = client.call_async(request)
            self.wait_for(f"an answer of {name}", future.done, self._timeout_s)
            return future.result()
        finally:
            self.destroy_client(client)

    def activate(self) -> None:
        """Configure and activate the perception node, as far as it is not.

        Raises:
            ScheduleError: If a transition fails, or the node is not there in time.
            Interrupted: On SIGINT.
        """
        end_s = time.monotonic() + self._timeout_s

        def wait(ready: Callable[[], bool], seconds: float) -> bool:
            if time.monotonic() > end_s:
                raise ScheduleError(
                    f"waited {self._timeout_s:g} s for {self._perception} to be active"
                )
            return self._came_true(ready, seconds)

        if not bring_up(self, self._perception, wait):
            raise ScheduleError(f"{self._perception} is not active: its own log says why")
        self.get_logger().info(f"{self._perception} is active")

    def sensors(self) -> list[str]:
        """Return the robot's switchable sensors, by its parameters sensors.<name>.enabled."""
        request = ListParameters.Request(prefixes=["sensors"], depth=0)
        names = self.call(ListParameters, f"{self._robot}/list_parameters", request).result.names
        found = [n.split(".")[1] for n in names if n.endswith(".enabled")]
        if not found:
            raise ScheduleError(f"{self._robot} has no parameter sensors.<name>.enabled")
        return found

    def wait_until_recorded(self, recorder: str) -> None:
        """Wait until the recorder subscribes to what robot, perception and we publish."""
        wanted = {MARKS_TOPIC, f"{self._perception}/latent"}
        for node in (self._robot, self._perception):
            published = self._topics(self.get_publisher_names_and_types_by_node, node)
            wanted |= {topic for topic in published if awaits_recording(topic)}

        def missing() -> set[str]:
            return wanted - self._topics(self.get_subscriber_names_and_types_by_node, recorder)

        try:
            self.wait_for("the recorder", lambda: not missing(), self._timeout_s)
        except Interrupted:
            raise
        except ScheduleError as err:
            listed = ", ".join(sorted(missing()))
            raise ScheduleError(f"{err}: it does not record {listed}") from err

    def _topics(self, lookup: Lookup, node: str) -> set[str]:
        namespace, _, name = node.rpartition("/")
        try:
            return {topic for topic, _ in lookup(name, namespace or "/")}
        except Exception:  # rclpy's NodeNameNonExistentError: the node is not discovered yet
            return set()

    def switch(self, sensors: Sequence[str], enabled: Sequence[str], label: str) -> None:
        """Switch all sensors in one call and mark when that was done."""
        request = SetParametersAtomically.Request(
            parameters=[
                Parameter(f"sensors.{s}.enabled", value=s in enabled).to_parameter_msg()
                for s in sensors
            ]
        )
        asked_ns = time.time_ns()
        answer = self.call(
            SetParametersAtomically, f"{self._robot}/set_parameters_atomically", request
        )
        if not answer.result.successful:
            raise ScheduleError(f"{self._robot} refused a switch: {answer.result.reason}")
        mark = {
            "label": label,
            "enabled": list(enabled),
            "sensors": list(sensors),
            "asked_ns": asked_ns,
            "done_ns": time.time_ns(),
        }
        self._marks.publish(String(data=json.dumps(mark)))
        self.get_logger().info(f"{label}: {'+'.join(enabled) or 'none'}")

    def dwell(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            Interrupted: On SIGINT.
        """
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if self.interrupted:
                raise Interrupted("interrupted")
            rclpy.spin_once(self, timeout_sec=min(0.1, max(0.0, end_s - time.monotonic())))


def walk(node: ScheduleWalker, options: argparse.Namespace) -> None:
    """Run the whole schedule; sensors are all on before and after."""
    node.activate()
    sensors = node.sensors()
    if options.recorder:
        node.wait_until_recorded(options.recorder)
    node.switch(sensors, sensors, "begin")
    node.dwell(options.warm_up)
    states = schedule(sensors, options.seed)
    for index, enabled in enumerate(states):
        node.switch(sensors, enabled, f"{index + 1}/{len(states)}")
        node.dwell(options.dwell)
    node.switch(sensors, sensors, "end")
    node.dwell(1.0)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line, without its ROS part."""
    parser = argparse.ArgumentParser(prog="sensor_schedule", description=__doc__)
    parser.add_argument("--dwell", type=float, default=8.0, metavar="S", help="seconds per state")
    parser.add_argument("--warm-up", type=float, default=3.0, metavar="S", help="all on, before")
    parser.add_argument("--seed", type=int, default=0, help="order of the states")
    parser.add_argument("--robot", default="/simulated_robot", help="node to switch")
    parser.add_argument("--perception", default="/smvae", help="lifecycle node to activate")
    parser.add_argument("--recorder", default="", help="wait until this node records everything")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="for any answer")
    return parser.parse_args(rclpy.utilities.remove_ros_args([sys.argv[0], *arguments])[1:])


def main(args: list[str] | None = None) -> int:
    """Walk the schedule; 1 with a line when something does not answer, 130 when interrupted."""
    arguments = sys.argv[1:] if args is None else args
    options = parse(arguments)
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = ScheduleWalker(
        robot=options.robot, perception=options.perception, timeout_s=options.timeout
    )

    def interrupt(*_: object) -> None:
        node.interrupted = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        walk(node, options)
    except Interrupted:
        return 130
    except SMVAEError as err:
        print(f"sensor_schedule: {err}", file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
