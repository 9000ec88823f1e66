"""A worked consumer: blends the operator's command with what the latent says, for a robot.

Subscribes to `smvae/latent`, `smvae/model_info` and `operator/command`, publishes `command` (all
remappable) at a fixed rate, and on `~/assistance` what it makes of the latent and why it does not
help. `trust.py` decides whether a latent counts, `shared_autonomy.py` is the formula; this file
only moves messages. See docs/shared_autonomy.md.
"""

from __future__ import annotations

import sys
import time
from dataclasses import fields
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import TwistStamped
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from smvae_msgs.msg import LatentState, ModelInfo
from smvae_ros import process
from smvae_ros.bundle_path import resolve

from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError
from smvae_tools.shared_autonomy import Limits, Twist, blend, limited, weight
from smvae_tools.trust import Patience, Trust, Verdict

_AXES = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
#: Parameters of the node itself: default and meaning.
_OWN: dict[str, tuple[Any, str]] = {
    "bundle": ("", "Bundle that the perception node runs: absolute path, file:// or package://"),
    "rate_hz": (20.0, "Commands per second"),
    "command_timeout_s": (
        0.25,
        "An operator whose last command arrived, or is stamped, longer ago gets zero commands",
    ),
    "frame_id": ("base_link", "Frame of the commands; an operator's frame must be it or empty"),
}


class SharedAutonomyDemo(Node):
    """Publishes the blended command."""

    def __init__(self, **kwargs: Any) -> None:
        """Load the readout and connect.

        Raises:
            BundleError: If the bundle cannot be used or has no readout.
            ConfigError: If a parameter has no usable value.
        """
        super().__init__("shared_autonomy_demo", **kwargs)
        own = {name: self._declare(name, *entry) for name, entry in _OWN.items()}
        self._limits = Limits(**self._declare_fields(Limits))
        patience = Patience(**self._declare_fields(Patience))
        if not (own["rate_hz"] > 0.0 and own["command_timeout_s"] > 0.0):
            raise ConfigError("rate_hz and command_timeout_s must be positive")
        bundle = Bundle.load(resolve(own["bundle"]))
        self._trust = Trust(
            bundle.readout(),
            bundle.sha256,
            patience,
            now_ns=lambda: int(self.get_clock().now().nanoseconds),
            steady_s=time.monotonic,
        )
        self._timeout_s: float = own["command_timeout_s"]
        self._frame_id: str = own["frame_id"]
        self._operator: tuple[float, int, Twist] | None = None
        self._last: Twist = np.zeros(6)
        self._last_s = time.monotonic()
        self._weight = 0.0
        self._said = ""
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        latched = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._command = self.create_publisher(TwistStamped, "command", 1)
        self._assistance = self.create_publisher(DiagnosticStatus, "~/assistance", 1)
        self.create_subscription(LatentState, "smvae/latent", self._trust.latent, newest)
        self.create_subscription(ModelInfo, "smvae/model_info", self._on_model, latched)
        self.create_subscription(TwistStamped, "operator/command", self._on_operator, newest)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on while /clock stands
        self.create_timer(1.0 / own["rate_hz"], self._tick, clock=steady)

    def _declare(self, name: str, default: Any, text: str) -> Any:
        descriptor = ParameterDescriptor(description=text, read_only=True)
        try:
            return self.declare_parameter(name, default, descriptor).value
        except Exception as err:  # rclpy's own classes, which differ between releases
            raise ConfigError(f"parameter refused: {err}") from err

    def _declare_fields(self, kind: type) -> dict[str, Any]:
        """Declare one parameter per field of a settings class, with its default."""
        return {
            f.name: self._declare(f.name, f.default, f"See {kind.__name__}.{f.name}")
            for f in fields(kind)
        }

    def _on_model(self, info: ModelInfo) -> None:
        self._trust.model(info)
        if np.isnan(info.novelty_error):
            self.get_logger().warning(
                f"'{info.name}' has no calibrated novelty: it cannot tell when it is lost; "
                "`smvae export` calibrates it on held-out data"
            )

    def _on_operator(self, message: TwistStamped) -> None:
        twist = np.array([_get(message.twist, axis) for axis in _AXES])
        frame_id = message.header.frame_id
        stamp_ns = Time.from_msg(message.header.stamp).nanoseconds
        known_frame = frame_id in ("", self._frame_id)
        if not (np.isfinite(twist).all() and known_frame and stamp_ns > 0):
            self.get_logger().warning(
                f"operator's command refused: finite numbers in '{self._frame_id}' with a stamp "
                f"are expected, got {twist.tolist()} in '{frame_id}', stamped {stamp_ns} ns",
                throttle_duration_sec=2.0,
            )
            return
        self._operator = (time.monotonic(), stamp_ns, twist)

    def _absent(self, now_s: float) -> str:
        """Return why nobody counts as being at the joystick, '' = somebody is."""
        if self._operator is None or now_s - self._operator[0] > self._timeout_s:
            return "the operator is silent"
        age_s = (self.get_clock().now().nanoseconds - self._operator[1]) * 1e-9
        if age_s > self._timeout_s:
            return f"the operator's command is older than {self._timeout_s} s"
        if age_s < -self._timeout_s:
            return "the operator's command is of the future: clocks differ"
        return ""

    def _tick(self) -> None:
        """Publish the command of this moment, whatever has arrived or not."""
        now_s = time.monotonic()
        elapsed_s, self._last_s = min(now_s - self._last_s, 0.2), now_s
        verdict = self._trust.verdict()
        absent = self._absent(now_s)
        if absent or self._operator is None:
            # at once, without the limit on acceleration: nobody is at the joystick
            self._weight, self._last = 0.0, np.zeros(6)
        else:
            self._last = self._blended(self._operator[2], verdict, elapsed_s)
        self._send(self._last)
        self._report(verdict, absent or verdict.reason)

    def _blended(self, operator: Twist, verdict: Verdict, elapsed_s: float) -> Twist:
        wanted = operator
        if verdict.estimate is None:
            self._weight = 0.0
        else:
            rise = self._weight + self._limits.weight_rise_per_s * elapsed_s
            self._weight = min(weight(verdict.estimate, self._limits), rise)
            wanted = blend(operator, verdict.estimate, self._weight, self._limits)
        return limited(wanted, self._last, elapsed_s, self._limits)

    def _send(self, twist: Twist) -> None:
        message = TwistStamped()
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = self._frame_id
        for axis, value in zip(_AXES, twist, strict=True):
            group, name = axis.split(".")
            setattr(getattr(message.twist, group), name, float(value))
        self._command.publish(message)

    def _report(self, verdict: Verdict, reason: str) -> None:
        """Say on `~/assistance` what is done and why, and log it when it changes."""
        values = {"weight": f"{self._weight:.4f}"}
        if verdict.estimate is not None:
            for axis, offset, std in zip(
                "xyz", verdict.estimate.offset_m, verdict.estimate.std_m, strict=True
            ):
                values[f"offset.{axis} [m]"] = f"{offset:.5f}"
                values[f"std.{axis} [m]"] = f"{std:.5f}"
            values["contact"] = f"{verdict.estimate.contact:.3f}"
        said = reason or "assisting"
        self._assistance.publish(
            DiagnosticStatus(
                level=DiagnosticStatus.WARN if reason else DiagnosticStatus.OK,
                name="shared autonomy",
                message=said,
                values=[KeyValue(key=k, value=v) for k, v in values.items()],
            )
        )
        if said != self._said:
            self._said = said
            self.get_logger().info(said)


def _get(twist: Any, axis: str) -> float:
    group, name = axis.split(".")
    return float(getattr(getattr(twist, group), name))


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 when it ended as asked, 1 with a line when it cannot start."""
    return process.run(SharedAutonomyDemo, args)


if __name__ == "__main__":
    sys.exit(main())
