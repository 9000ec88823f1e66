"""A perception node in a process of its own, and a client that plays its sensors, over real DDS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped, WrenchStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot_harness import Listener, Process
from sensor_msgs.msg import CameraInfo, Image
from smvae_msgs.msg import LatentState, ModelInfo

from smvae_core.fusion.rules import FusionState
from smvae_core.kinds.window import resample_window
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality
from smvae_core.runtime import Runtime
from smvae_datasets.simulation.ros_domain import free_domain

#: The node's process cannot import torch.
WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = None; "
    "from smvae_ros.perception_node import main; sys.exit(main())"
)
MESSAGES = {
    "color_image": Image,
    "depth_image": Image,
    "signal": WrenchStamped,
    "command": TwistStamped,
}
TOPICS = {
    "rgb": "rgb/image",
    "depth": "depth/image",
    "force": "wrench",
    "action": "action",
}
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
WINDOW_MS = 40


class NodeProcess(Process):
    """`perception_node` as a process."""

    def __init__(
        self, domain: int, log: Path, parameters: Mapping[str, Any], *, fresh: bool = False
    ) -> None:
        split = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
        super().__init__(WITHOUT_TORCH, domain, log, "--ros-args", *split, fresh=fresh)


class Client(Listener):
    """Sensors and listeners of one test, on one domain."""

    def __init__(
        self, domain: int, modalities: tuple[Modality, ...], profile: QoSProfile = BEST_EFFORT
    ) -> None:
        super().__init__(domain, "client")
        self.modalities = {m.name: m for m in modalities}
        self.latents: list[LatentState] = []
        self.node.create_subscription(LatentState, "/smvae/latent", self.latents.append, 100)
        self._publishers = {
            m.name: self.node.create_publisher(MESSAGES[m.kind], TOPICS[m.name], profile)
            for m in modalities
        }
        self.sent: dict[str, dict[int, Any]] = {m.name: {} for m in modalities}
        self._seed = 0

    def retire(self, name: str) -> None:
        """Destroy the publisher of one modality, as a driver does that ends."""
        self.node.destroy_publisher(self._publishers.pop(name))

    def revive(self, name: str, profile: QoSProfile = BEST_EFFORT) -> None:
        """Create it again and wait until the node is connected."""
        kind = self.modalities[name].kind
        publisher = self.node.create_publisher(MESSAGES[kind], TOPICS[name], profile)
        self._publishers[name] = publisher
        self.until(publisher.get_subscription_count)

    def spin(self, seconds: float) -> None:
        """Spin for a time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.01)

    def change(self, transition: int) -> bool:
        """Ask for a lifecycle transition; return whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, "/smvae/change_state", request).success)

    def activate(self) -> None:
        """Configure and activate, and wait until the sensors are connected."""
        assert self.change(Transition.TRANSITION_CONFIGURE)
        assert self.change(Transition.TRANSITION_ACTIVATE)
        self.until(lambda: all(p.get_subscription_count() for p in self._publishers.values()))
        self.until(lambda: self.latents)

    def state(self) -> str:
        response = self.call(GetState, "/smvae/get_state", GetState.Request())
        return str(response.current_state.label)

    def set_parameter(self, name: str, value: Any) -> Any:
        """Set one parameter; return the result with its reason."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, "/smvae/set_parameters", request).results[0]

    def get_parameter(self, name: str) -> Any:
        """Return one parameter's value, a rcl_interfaces/ParameterValue."""
        request = GetParameters.Request(names=[name])
        return self.call(GetParameters, "/smvae/get_parameters", request).values[0]

    def now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def publish(self, name: str, stamp_ns: int, message: Any = None) -> None:
        """Publish one sample (a force window: readings 1 ms apart, ending at the stamp)."""
        modality = self.modalities[name]
        if message is not None:
            self._publishers[name].publish(message)
            return
        self._seed += 1
        sample = modality.example_sample(self._seed)
        if not modality.family.is_window:
            self.sent[name][stamp_ns] = sample
            self._send(modality, sample, stamp_ns)
            return
        rng = np.random.default_rng(self._seed)
        readings = rng.normal(0.0, 3.0, (WINDOW_MS, modality.shape[0])).astype(np.float32)
        for index, reading in enumerate(readings):
            stamp = stamp_ns - (WINDOW_MS - 1 - index) * 1_000_000
            self.sent[name][stamp] = reading
            self._send(modality, reading, stamp)

    def message(self, name: str, sample: Any, stamp_ns: int) -> Any:
        modality = self.modalities[name]
        return modality.converter().fill(
            modality,
            MESSAGES[modality.kind](),
            sample,
            stamp_ns,
            f"{name}_optical",
            ConversionOptions(),
        )

    def _send(self, modality: Modality, sample: Any, stamp_ns: int) -> None:
        self._publishers[modality.name].publish(self.message(modality.name, sample, stamp_ns))

    def moment(self, subset: tuple[str, ...]) -> int:
        """Publish one sample of each modality of a subset, all with the same stamp."""
        stamp = self.now_ns()
        for name in subset:
            self.publish(name, stamp)
        return stamp

    def play_until(self, subset: tuple[str, ...], condition: Callable[[], Any]) -> Any:
        """Play a subset at 20 Hz until a condition holds, and return its value."""
        deadline = time.monotonic() + self.patience_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"nothing within {self.patience_s} s of {subset}"
            self.moment(subset)
            self.spin(0.05)
        return value

    def expected_mean(self, runtime: Runtime, latent: LatentState) -> Any:
        """Return what the runtime makes of the samples that a latent says it was made from."""
        samples = {}
        for status in latent.modalities:
            if status.state != FusionState.FUSED:
                continue
            stamp = nanoseconds(status.stamp)
            samples[status.name] = self._sample(status.name, stamp)
        return runtime.infer(samples).mean

    def _sample(self, name: str, stamp: int) -> Any:
        modality = self.modalities[name]
        sent = self.sent[name]
        if not modality.family.is_window:
            return self._as_received(modality, sent[stamp], stamp)
        stamps = np.array(sorted(sent), np.int64)
        readings = np.stack([sent[int(s)] for s in stamps])
        return resample_window(stamps, readings, stamp, length=modality.shape[1])

    def _as_received(self, modality: Modality, sample: Any, stamp: int) -> Any:
        message = self.message(modality.name, sample, stamp)
        return modality.converter().to_array(modality, message, ConversionOptions())


@contextmanager
def active_node(log: Path, parameters: Mapping[str, Any], *client: Any) -> Iterator[Client]:
    """Give the client of an active node; at the end the node must still be there."""
    domain = free_domain()
    process = NodeProcess(domain, log, parameters)
    found = Client(domain, *client)
    try:
        found.activate()
        yield found
        assert process.process.poll() is None, log.read_text()
    finally:
        found.close()
        process.end()


def nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def status_of(latent: LatentState, name: str) -> Any:
    """Return what a latent says of one modality."""
    return next(s for s in latent.modalities if s.name == name)


def fused(latent: LatentState) -> tuple[str, ...]:
    """Return the names of the modalities that a latent was made from."""
    return tuple(s.name for s in latent.modalities if s.state == FusionState.FUSED)


def camera_info(width: int, height: int) -> CameraInfo:
    """Return a camera_info with recognisable numbers."""
    info = CameraInfo(width=width, height=height)
    info.k = [100.0, 0.0, 64.0, 0.0, 200.0, 32.0, 0.0, 0.0, 1.0]
    info.p = [100.0, 0.0, 64.0, 10.0, 0.0, 200.0, 32.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


__all__ = [
    "BEST_EFFORT",
    "LATCHED",
    "RELIABLE",
    "Client",
    "ModelInfo",
    "NodeProcess",
    "camera_info",
    "fused",
    "status_of",
]
