"""An operator for the demo who does not see the hole well: commands toward where they think it is.

Reads the peg's offset from the simulated robot's ground truth, which no real operator has, adds a
wrong idea of the hole's place that is drawn anew with every attempt, and publishes TwistStamped on
`operator/command` at the rate of the truth: above the hole, then down, then up again.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from numpy.typing import NDArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from smvae_ros import process

from smvae_core.errors import ConfigError

#: Speed per distance [1/s], fastest [m/s], down on the box [m/s].
GAIN_PER_S, SPEED, DESCENT = 1.5, 0.08, 0.02
HOVER_M, SEATED_M, CLEAR_M = 0.02, -0.03, 0.06
#: An attempt ends after so many messages, seated or not.
PATIENCE = 200


class Attempt:
    """One way down, with one wrong idea of where the hole is."""

    def __init__(self, rng: np.random.Generator, error_m: float) -> None:
        direction = rng.uniform(-np.pi, np.pi)
        self._error = error_m * np.array([np.cos(direction), np.sin(direction)])
        self._phase = "approach"
        self._messages = 0
        self.over = False

    def command(self, offset_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the velocity (3,) [m/s] for the peg's offset from the hole (3,) [m]."""
        self._messages += 1
        seen = offset_m[:2] + self._error
        if self._phase == "approach" and float(np.linalg.norm(seen)) < 0.003:
            self._phase = "descend"
        if self._phase != "withdraw" and (offset_m[2] < SEATED_M or self._messages > PATIENCE):
            self._phase = "withdraw"
        if self._phase == "withdraw":
            self.over = bool(offset_m[2] > CLEAR_M)
            return np.array([0.0, 0.0, SPEED])
        height = HOVER_M - offset_m[2]
        down = GAIN_PER_S * height if self._phase == "approach" else -DESCENT
        velocity = np.array([*(-GAIN_PER_S * seen), down])
        return velocity * min(1.0, SPEED / max(float(np.linalg.norm(velocity)), 1e-9))


class ImperfectOperator(Node):
    """Publishes a command for every message of the robot's true state."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare parameters and connect.

        Raises:
            ConfigError: If a parameter has no usable value.
        """
        super().__init__("imperfect_operator", **kwargs)
        seed = self._declare("seed", 0, "Fixes the errors of all attempts")
        self._error_m = self._declare("error_m", 0.01, "How far the hole is from where they aim")
        if not 0.0 <= self._error_m < math.inf or seed < 0:
            raise ConfigError("seed and error_m must not be negative, error_m finite")
        self._rng = np.random.default_rng(seed)
        self._attempt = Attempt(self._rng, self._error_m)
        self._command = self.create_publisher(TwistStamped, "operator/command", 1)
        truth = "simulated_robot/ground_truth/state"
        self.create_subscription(DiagnosticArray, truth, self._on_truth, 1)

    def _declare(self, name: str, default: Any, text: str) -> Any:
        descriptor = ParameterDescriptor(description=text, read_only=True)
        try:
            return self.declare_parameter(name, default, descriptor).value
        except Exception as err:  # rclpy's own classes, which differ between releases
            raise ConfigError(f"parameter refused: {err}") from err

    def _on_truth(self, message: DiagnosticArray) -> None:
        values = {v.key: v.value for status in message.status[:1] for v in status.values}
        offset_m = np.array([_number(values.get(f"offset.{axis} [m]", "")) for axis in "xyz"])
        if not np.isfinite(offset_m).all():
            self.get_logger().warning(
                "truth refused: finite offset.x, y, z [m] in its first status are expected, "
                f"got {values}",
                throttle_duration_sec=2.0,
            )
            return
        velocity = self._attempt.command(offset_m)
        if self._attempt.over:
            self._attempt = Attempt(self._rng, self._error_m)
        command = TwistStamped()
        command.header.stamp = self.get_clock().now().to_msg()
        command.header.frame_id = message.header.frame_id
        linear = command.twist.linear
        linear.x, linear.y, linear.z = (float(v) for v in velocity)
        self._command.publish(command)


def _number(text: str) -> float:
    """Return the number that a text is, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM."""
    return process.run(ImperfectOperator, args)


if __name__ == "__main__":
    sys.exit(main())
