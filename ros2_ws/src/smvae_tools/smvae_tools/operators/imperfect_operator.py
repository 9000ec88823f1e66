"""An operator for the demo who has a wrong idea of where the hole is, and counts what gets in.

Reads the peg's offset from the simulated robot's ground truth, which no real operator has. Adds a
wrong idea of the hole's place, drawn anew for every attempt. Publishes TwistStamped on
`operator/command` at the rate of the truth. Logs after each attempt whether the peg was seated, and
how many were so far.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from numpy.typing import NDArray
from rclpy.node import Node
from smvae_ros.lifecycle import process
from smvae_ros.parameters.sources import tell_unread

from smvae_core.errors import ConfigError
from smvae_datasets.simulation.stick_operator import StickOperator, operator_kind
from smvae_tools.operators.parameters import declare_fixed
from smvae_tools.robot.publishers import OFFSETS, STEP_TIME_S

#: The peg is seated when its tip is so far below the surface [m].
SEATED_M = 0.028
#: An attempt ends after so long, seated or not [s].
PATIENCE_S = 20.0
#: No arm moves further between two messages [m]: the robot began anew.
JUMP_M = 0.05


class ImperfectOperator(Node):
    """Publishes a command for every message of the robot's true state."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare parameters and connect.

        Raises:
            ConfigError: If a parameter has no usable value.
        """
        super().__init__("imperfect_operator", **kwargs)
        seed = declare_fixed(self, "seed", 0, "Fixes the errors of all attempts")
        error_m = declare_fixed(self, "error_m", 0.01, "How far the hole is from where they aim")
        error_rad = declare_fixed(
            self, "error_rad", 0.15, "How far its yaw is from what they aim at"
        )
        kind = declare_fixed(self, "kind", "aims_wrong", "'aims_wrong', 'noisy' or 'late'")
        tell_unread(self)
        if not (0.0 <= error_m < math.inf and 0.0 <= error_rad < math.inf) or seed < 0:
            raise ConfigError(
                "seed, error_m and error_rad must not be negative, and the errors finite; got "
                f"seed {seed}, error_m {error_m}, error_rad {error_rad}"
            )
        self._kind = replace(
            operator_kind(kind), aim_m=(error_m, error_m), aim_rad=(error_rad, error_rad)
        )
        self._rng = np.random.default_rng(seed)
        self._last: NDArray[np.float64] | None = None
        self._attempts = self._seated = 0
        self._begin()
        self._command = self.create_publisher(TwistStamped, "operator/command", 1)
        truth = "simulated_robot/ground_truth/state"
        self.create_subscription(DiagnosticArray, truth, self._on_truth, 1)

    def _begin(self) -> None:
        """Begin an attempt, with a new wrong idea."""
        self._attempt = StickOperator(self._rng, self._kind, STEP_TIME_S, PATIENCE_S)
        self._steps, self._deepest_m = 0, -math.inf

    def _on_truth(self, message: DiagnosticArray) -> None:
        values = {v.key: v.value for status in message.status[:1] for v in status.values}
        offset = np.array([_number(values.get(name, "")) for name in OFFSETS])
        if not np.isfinite(offset).all():
            self.get_logger().warning(
                f"truth refused: finite {', '.join(OFFSETS)} in its first status are expected, "
                f"got {values}",
                throttle_duration_sec=2.0,
            )
            return
        if self._last is not None and np.linalg.norm(offset[:3] - self._last[:3]) > JUMP_M:
            self._begin()  # of an attempt that was cut off nothing can be said
        self._last = offset
        self._steps += 1
        self._deepest_m = max(self._deepest_m, -float(offset[2]))
        motion = self._attempt.command(offset, SEATED_M)
        if self._attempt.over:
            self._count()
            self._begin()
        command = TwistStamped()
        command.header.stamp = self.get_clock().now().to_msg()
        command.header.frame_id = message.header.frame_id
        linear = command.twist.linear
        linear.x, linear.y, linear.z, command.twist.angular.z = (float(v) for v in motion)
        self._command.publish(command)

    def _count(self) -> None:
        """Say how the attempt ended, and all so far."""
        seated = self._deepest_m > SEATED_M
        self._attempts += 1
        self._seated += seated
        self.get_logger().info(
            f"attempt {self._attempts}: {'seated' if seated else 'not seated'} in "
            f"{self._steps * STEP_TIME_S:.1f} s and out again; "
            f"{self._seated} of {self._attempts} seated"
        )


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
