"""An integrator's side of the node: hears its latents, calls its services, drives its lifecycle."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from smvae_msgs.msg import LatentState
from smvae_ros.lifecycle.service_client import connect

from smvae_core.fusion.rules import FusionState

RELIABLE = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


class Heard(NamedTuple):
    """One latent, and when it arrived."""

    message: LatentState
    steady_s: float
    """Steady clock at its receipt."""
    since_stamp_s: float
    """System clock at its receipt minus its stamp."""

    @property
    def fused(self) -> tuple[str, ...]:
        """The modalities that it was made from; () for a heartbeat."""
        states = self.message.modalities
        names = tuple(s.name for s in states if s.state == FusionState.FUSED)
        return names if self.message.valid else ()

    def status(self, name: str) -> Any:
        """Return what it says of one modality."""
        return next(s for s in self.message.modalities if s.name == name)


class Observer:
    """Context manager: a node of the measurement's own."""

    def __init__(self, domain: int, *, keep: int = 1000) -> None:
        """Join the domain and listen to latents.

        Args:
            domain: ROS domain.
            keep: How many of the newest latents are kept.
        """
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("observer", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.latents: deque[Heard] = deque(maxlen=keep)
        self.node.create_subscription(LatentState, "/smvae/latent", self._hear, RELIABLE)

    def __enter__(self) -> Observer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, _: TracebackType | None
    ) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def _hear(self, message: LatentState) -> None:
        now_ns, stamp = time.time_ns(), message.header.stamp
        since_s = (now_ns - stamp.sec * 10**9 - stamp.nanosec) * 1e-9
        self.latents.append(Heard(message, time.monotonic(), since_s))

    def listen(self, message_type: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Call back with every message of a topic."""
        self.node.create_subscription(message_type, topic, callback, RELIABLE)

    def spin(self, seconds: float) -> None:
        """Spin for a time."""
        self.came_true(lambda: False, seconds)

    def came_true(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Spin until a condition holds or the time is over; return whether it held."""
        end_s = time.monotonic() + seconds
        while not condition():
            left_s = end_s - time.monotonic()
            if left_s <= 0.0:
                return False
            self.executor.spin_once(timeout_sec=min(0.02, left_s))
        return True

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
        """Spin until a condition holds.

        Raises:
            TimeoutError: If it does not within the time.
        """
        if not self.came_true(condition, seconds):
            raise TimeoutError(f"waited {seconds:g} s for {what}, which did not come")

    def heard(self, wanted: Callable[[Heard], bool], what: str, seconds: float = 60.0) -> Heard:
        """Forget the latents so far and return the first of the following that is wanted.

        Raises:
            TimeoutError: If none comes within the time.
        """
        self.latents.clear()
        found: list[Heard] = []

        def look() -> bool:
            while self.latents and not found:
                one = self.latents.popleft()
                if wanted(one):
                    found.append(one)
            return bool(found)

        self.until(look, what, seconds)
        return found[0]

    def call(self, service_type: Any, name: str, request: Any, seconds: float = 60.0) -> Any:
        """Call a service of the node and return its response.

        Raises:
            TimeoutError: If there is no answer within the time.
        """
        client = connect(self.node, service_type, f"/smvae/{name}", self.came_true, seconds)
        try:
            future = client.call_async(request)
            self.until(future.done, f"the answer of {name}", seconds)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def change(self, *transitions: int) -> None:
        """Ask for lifecycle transitions, one after the other.

        Raises:
            RuntimeError: If the node refuses one.
        """
        for transition in transitions:
            request = ChangeState.Request(transition=Transition(id=transition))
            if not self.call(ChangeState, "change_state", request).success:
                raise RuntimeError(f"lifecycle transition {transition} failed, see the node's log")

    def activate(self) -> None:
        """Configure and activate."""
        self.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)

    def put_away(self) -> None:
        """Deactivate and clean up."""
        self.change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)

    def state(self) -> str:
        """Return the node's lifecycle state."""
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def set(self, name: str, value: Any) -> None:
        """Set a parameter of the node.

        Raises:
            RuntimeError: If the node refuses it.
        """
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        result = self.call(SetParameters, "set_parameters", request).results[0]
        if not result.successful:
            raise RuntimeError(f"{name}: {result.reason}")
