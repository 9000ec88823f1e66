"""Plays perception node, operator and arm for the shared-autonomy demo, over real DDS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from node_harness import LATCHED
from robot_harness import Listener
from smvae_msgs.msg import Estimate, Estimates, LatentState, ModalityStatus, ModelInfo

from smvae_core.bundle import Bundle

OPERATOR = np.array([0.02, -0.01, -0.03, 0.0, 0.0, 0.2])
#: Where the played arm stands [m, m, m], without a yaw.
TIP = np.array([0.55, 0.0, 0.1])


class Stage(Listener):
    """Plays perception node, operator and arm, and hears what the demo makes of them."""

    def __init__(self, domain: int, bundle: Bundle) -> None:
        super().__init__(domain, "stage")
        self.bundle = bundle
        self.commands = self.listen(TwistStamped, "/command", 10)
        self.states = self.listen(DiagnosticStatus, "/shared_autonomy_demo/assistance", 10)
        self._latents = self.node.create_publisher(LatentState, "/smvae/latent", 1)
        self._estimates = self.node.create_publisher(Estimates, "/smvae/estimates", 1)
        self._infos = self.node.create_publisher(ModelInfo, "/smvae/model_info", LATCHED)
        self._operator = self.node.create_publisher(TwistStamped, "/operator/command", 1)
        self._arm = [
            self.node.create_publisher(PoseStamped, f"/tip_{half}", 5)
            for half in ("setpoint", "pose")
        ]
        self.epoch, self._sequence = 1, 0
        self.describe(bundle.sha256)

    def describe(self, sha256: str) -> None:
        info = ModelInfo(generation=1, name="played", sha256=sha256, novelty_error=3.0)
        self._infos.publish(info)

    def command(
        self, twist: np.ndarray, frame_id: str = "base_link", age_s: float | None = 0.0
    ) -> None:
        """Publish a command stamped so long ago, or without a stamp."""
        message = TwistStamped()
        message.header.frame_id = frame_id
        if age_s is not None:
            self.stamp(message, age_s)
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = map(float, twist)
        self._operator.publish(message)

    def arm(self, frame_id: str = "base_link") -> None:
        """Publish that tip and setpoint stand at TIP."""
        message = PoseStamped()
        message.header.frame_id = frame_id
        self.stamp(message, 0.0)
        position = message.pose.position
        position.x, position.y, position.z = map(float, TIP)
        message.pose.orientation.w = 1.0
        for publisher in self._arm:
            publisher.publish(message)

    def latent(self, *, age_s: float = 0.0, spread: float = 1e-4, **changes: Any) -> None:
        mean = np.zeros(self.bundle.manifest.latent_dim, np.float32)
        mean[:4] = [1.0, -0.4, 4.0, -6.0]
        self._sequence += 1
        values: dict[str, Any] = {
            "epoch": self.epoch,
            "sequence": self._sequence,
            "valid": True,
            "status": LatentState.OK,
            "model_generation": 1,
            "mean": mean.tolist(),
            "variance": [spread] * len(mean),
            "modalities": [
                ModalityStatus(name=n, state=ModalityStatus.FUSED)
                for n in self.bundle.manifest.names
            ],
        }
        message = LatentState(**(values | changes))
        self.stamp(message, age_s)
        self._latents.publish(message)

    def estimates(self, offset: np.ndarray, std: float) -> None:
        """Publish what the last latent says of where the hole is."""
        message = Estimates(epoch=self.epoch, sequence=self._sequence, model_generation=1)
        covariance = (std**2 * np.eye(3)).ravel().tolist()
        found = Estimate(name="offset", unit="m", mean=offset.tolist(), covariance=covariance)
        message.targets = [found]
        self.stamp(message, 0.0)
        self._estimates.publish(message)

    def stamp(self, message: Any, age_s: float) -> None:
        stamp_ns = self.node.get_clock().now().nanoseconds - round(age_s * 1e9)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)

    def play(
        self,
        condition: Callable[[], bool],
        *,
        operator: bool = True,
        latents: bool = True,
        arm: bool = True,
        tells: tuple[np.ndarray, float] | None = None,
        **kw: Any,
    ) -> None:
        """Publish latents, commands and the arm's poses at about 25 Hz until a condition holds.

        `tells` are offset and deviation of the estimates of each latent; None = none are published.
        """

        def beat() -> bool:
            if arm:
                self.arm()
            if operator:
                self.command(OPERATOR)
            if latents:
                self.latent(**kw)
            if tells is not None:
                self.estimates(*tells)
            self.came_true(condition, 0.04)
            return condition()

        self.until(beat)

    def says(self, reason: str) -> bool:
        return bool(self.states) and reason in self.states[-1].message

    @property
    def weight(self) -> float:
        values = {v.key: v.value for v in self.states[-1].values} if self.states else {}
        return float(values.get("weight", "nan"))

    def near(self, wanted: np.ndarray) -> bool:
        """Return whether the newest command is the wanted one."""
        return bool(self.commands) and np.allclose(twist(self.commands[-1]), wanted, atol=1e-6)


def twist(message: TwistStamped) -> np.ndarray:
    linear, angular = message.twist.linear, message.twist.angular
    return np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])
