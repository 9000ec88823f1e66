"""What `sensor_schedule` does to the robot, the perception node and the recorder, one step each."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rcl_interfaces.srv import ListParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from smvae_msgs.msg import LatentState, ModalityStatus
from smvae_ros import qos
from smvae_ros.lifecycle.service_client import Wait, ask, within
from smvae_ros.lifecycle.start import bring_up
from std_msgs.msg import String

from smvae_core.errors import SMVAEError

MARKS_TOPIC = "/demo/schedule"
#: Regular expression of what a recorder need not hear: ROS's own topics, what only people look at,
#: what is predicted of sensors without images, camera_info and events, which may never come, and
#: the arm's own pose, which a controller hears.
_UNRECORDED = re.compile(
    r"/rosout|/parameter_events|.*/(camera_info|[^/]*_event|color/image|debug/.*)"
    r"|.*/predicted/[^/]+|.*/tip_(pose|setpoint)"
)
Lookup = Callable[[str, str], list[tuple[str, list[str]]]]


class ScheduleError(SMVAEError, RuntimeError):
    """A process that the schedule needs does not answer or refuses."""


class Interrupted(ScheduleError):
    """SIGINT or SIGTERM came."""


def awaits_recording(topic: str) -> bool:
    """Return whether the schedule waits until the recorder listens to this topic."""
    return not _UNRECORDED.fullmatch(topic)


class ScheduleWalker(Node):
    """Talks to the robot, the perception node and the recorder."""

    def __init__(
        self,
        *,
        robot: str,
        perception: str,
        timeout_s: float,
        stop: threading.Event,
        **kwargs: Any,
    ) -> None:
        """Make clients.

        Args:
            robot: Full name of the simulated robot's node.
            perception: Full name of the lifecycle node.
            timeout_s: How long to wait for any answer.
            stop: Set by SIGINT and SIGTERM.
            kwargs: For Node.
        """
        super().__init__("sensor_schedule", start_parameter_services=False, **kwargs)
        self._robot, self._perception, self._timeout_s = robot, perception, timeout_s
        self._marks = self.create_publisher(
            String, MARKS_TOPIC, QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        )
        self._stop = stop

    def wait_for(self, what: str, ready: Callable[[], bool], lacking: Callable[[], str]) -> None:
        """Turn the executor until `ready`; where it never is, the error ends in what is `lacking`.

        Raises:
            ScheduleError: If it does not come true in time.
            Interrupted: On SIGINT.
        """
        if not self._came_true(ready, self._timeout_s):
            raise self._late(f"{what}, which did not come: {lacking()}")

    def _late(self, what: str) -> ScheduleError:
        return ScheduleError(f"waited {self._timeout_s:g} s for {what}")

    def _came_true(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Turn the executor until `ready` or the time is over; return whether it was."""
        end_s = time.monotonic() + seconds
        while not ready():
            if self._stop.is_set():
                raise Interrupted("interrupted")
            if time.monotonic() > end_s:
                return False
            rclpy.spin_once(self, timeout_sec=0.05)
        return True

    def _until(self, what: str) -> Wait:
        """Return a `wait` that raises ScheduleError once the time for `what` is over."""
        return within(self._came_true, self._timeout_s, lambda: self._late(what))

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Return a service's answer to an idempotent request.

        Raises:
            ScheduleError: If none comes in time.
        """
        client = self.create_client(service_type, name)
        try:
            return ask(client, request, self._until(f"an answer of {name}, which did not come"))
        finally:
            self.destroy_client(client)

    def activate(self) -> None:
        """Configure and activate the perception node, as far as it is not.

        Raises:
            ScheduleError: If a transition fails, or the node is not there in time.
            Interrupted: On SIGINT.
        """
        if not bring_up(self, self._perception, self._until(f"{self._perception} to be active")):
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

        def lacking() -> str:
            return f"it does not record {', '.join(sorted(missing()))}"

        self.wait_for("the recorder", lambda: not missing(), lacking)

    def _topics(self, lookup: Lookup, node: str) -> set[str]:
        namespace, _, name = node.rpartition("/")
        try:
            return {topic for topic, _ in lookup(name, namespace or "/")}
        except Exception:  # rclpy's NodeNameNonExistentError: the node is not discovered yet
            return set()

    def wait_until_perceived(self) -> None:
        """Wait for a latent that fused every enabled modality.

        DDS connects publishers and subscribers in its own time, seconds on a busy machine; until
        then the node hears nothing of what the robot publishes.
        """
        newest: deque[LatentState] = deque(maxlen=1)
        topic = f"{self._perception}/latent"

        def complete() -> bool:
            return any(latent.status == LatentState.OK for latent in newest)

        def lacking() -> str:
            unfused = [
                m.name for n in newest for m in n.modalities if m.state != ModalityStatus.FUSED
            ]
            return f"not fused: {', '.join(unfused) or 'no latent'}"

        def hear(latent: LatentState) -> None:  # rclpy reads signatures, a deque's has none
            newest.append(latent)

        listening = self.create_subscription(LatentState, topic, hear, qos.output())
        try:
            self.wait_for(f"{topic} to fuse every modality", complete, lacking)
        finally:
            self.destroy_subscription(listening)

    def switch(self, sensors: Sequence[str], enabled: Sequence[str], label: str) -> None:
        """Switch all sensors in one call and mark when that was done."""
        asked_ns = time.time_ns()
        self.enable(sensors, enabled)
        mark = {
            "label": label,
            "enabled": list(enabled),
            "sensors": list(sensors),
            "asked_ns": asked_ns,
            "done_ns": time.time_ns(),
        }
        self._marks.publish(String(data=json.dumps(mark)))
        self.get_logger().info(f"{label}: {'+'.join(enabled) or 'none'}")

    def enable(self, sensors: Sequence[str], enabled: Sequence[str]) -> None:
        """Switch all sensors in one call.

        Raises:
            ScheduleError: If the robot refuses.
        """
        request = SetParametersAtomically.Request(
            parameters=[
                Parameter(f"sensors.{s}.enabled", value=s in enabled).to_parameter_msg()
                for s in sensors
            ]
        )
        answer = self.call(
            SetParametersAtomically, f"{self._robot}/set_parameters_atomically", request
        )
        if not answer.result.successful:
            raise ScheduleError(f"{self._robot} refused a switch: {answer.result.reason}")

    def dwell(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            Interrupted: On SIGINT.
        """
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if self._stop.is_set():
                raise Interrupted("interrupted")
            rclpy.spin_once(self, timeout_sec=min(0.1, max(0.0, end_s - time.monotonic())))
