"""A worked consumer: helps an operator to seat a peg, by what the latent says, on a robot.

Subscribes to `smvae/latent`, `smvae/estimates` of it (a bundle without targets has a readout
instead), `smvae/model_info`, `operator/command` and the arm's own `tip_pose` and `tip_setpoint`;
answers each pair of poses with a `command` (all remappable), and says on
`~/assistance` what it does and why it does not help. `trust.py` decides whether a latent counts,
`smvae_core.assistance` is the controller; this file only moves messages. See
docs/shared_autonomy.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from smvae_msgs.msg import Estimates, LatentState, ModelInfo
from smvae_ros.bundle_path import resolve
from smvae_ros.lifecycle import process
from smvae_ros.parameters.sources import tell_unread
from smvae_ros.report.rarely import Rarely

from smvae_core.assistance.belief import Fusion
from smvae_core.assistance.blending import Blending
from smvae_core.assistance.controller import Assistance, Phase, Settings
from smvae_core.assistance.insertion import Insertion
from smvae_core.assistance.limits import Limits
from smvae_core.assistance.pose import Motion
from smvae_core.assistance.sighting import require_hole, sighting
from smvae_core.assistance.spiral import Search
from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError
from smvae_core.readout import Readout
from smvae_tools.operators.parameters import declare_fixed
from smvae_tools.operators.tip_listener import TipListener, stamp_of
from smvae_tools.operators.trust import Patience, Trust, Verdict

#: Components of a twist that are commanded; roll and pitch stay zero, the peg upright.
_AXES = ("linear.x", "linear.y", "linear.z", "angular.z")
#: Longest time that one step of the controller answers for [s].
_LONGEST_STEP_S = 0.2
#: Shortest time between two lines of the log about what is done [s]; `~/assistance` has each.
_SAY_EVERY_S = 2.0
#: Parameters of the node itself: default and meaning.
_OWN: dict[str, tuple[Any, str]] = {
    "bundle": ("", "Bundle that the perception node runs: absolute path, file:// or package://"),
    "rate_hz": (20.0, "How often is looked whether arm and operator still speak"),
    "command_timeout_s": (
        0.25,
        "An operator whose last command arrived, or is stamped, longer ago gets zero commands",
    ),
    "tip_timeout_s": (0.25, "An arm whose last pose arrived longer ago gets zero commands"),
    "frame_id": (
        "base_link",
        "Frame of commands and poses; what comes in must be in it, or name none",
    ),
}


def _readout(bundle: Bundle) -> Readout | None:
    """Return the readout of a bundle whose model has no targets; of another one the node tells.

    Raises:
        BundleError: If it has neither calibrated estimates nor a readout, or they do not tell where
            the hole is.
    """
    readout = None if bundle.manifest.targets else bundle.readout()
    if readout is None:
        bundle.estimate_calibration()  # else the node publishes no estimates
        names = {target.name for target in bundle.manifest.targets}
    else:
        names = set(readout.targets)
    require_hole(bundle.path, names)
    return readout


class SharedAutonomyDemo(Node):
    """Publishes the command that operator and latent make together."""

    def __init__(self, **kwargs: Any) -> None:
        """Load what tells the hole, or whose node does, and connect.

        Raises:
            BundleError: If the bundle cannot be used or tells no targets.
            ConfigError: If a parameter has no usable value.
        """
        super().__init__("shared_autonomy_demo", **kwargs)
        own = {name: declare_fixed(self, name, *entry) for name, entry in _OWN.items()}
        settings = Settings(
            limits=self._declared(Limits),
            fusion=self._declared(Fusion),
            blending=self._declared(Blending),
            search=self._declared(Search),
            insertion=self._declared(Insertion),
        )
        patience = self._declared(Patience)
        tell_unread(self)
        for name in ("rate_hz", "command_timeout_s", "tip_timeout_s"):
            if not own[name] > 0.0:
                raise ConfigError(f"{name} must be positive, got {own[name]}")
        bundle = Bundle.load(resolve(own["bundle"]))
        readout = _readout(bundle)
        self._trust = Trust(
            readout,
            bundle.sha256,
            patience,
            now_ns=lambda: int(self.get_clock().now().nanoseconds),
            steady_s=time.monotonic,
        )
        self._assistant = Assistance(settings)
        self._tip = TipListener(own["frame_id"])
        self._timeout_s: float = own["command_timeout_s"]
        self._tip_timeout_s: float = own["tip_timeout_s"]
        self._frame_id: str = own["frame_id"]
        self._operator: tuple[float, int, Motion] | None = None
        self._tip_s = -np.inf
        self._world = (0, 0)
        self._seen_ns = 0
        self._said = "", -np.inf
        self._rarely = Rarely(2.0)
        self._command = self.create_publisher(TwistStamped, "command", 1)
        self._assistance = self.create_publisher(DiagnosticStatus, "~/assistance", 1)
        self._listen(estimates=readout is None)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on while /clock stands
        self.create_timer(1.0 / own["rate_hz"], self._watch, clock=steady)

    def _listen(self, *, estimates: bool) -> None:
        """Subscribe; to the node's estimates where no readout of ours takes their place."""
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        latched = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self.create_subscription(LatentState, "smvae/latent", self._trust.latent, newest)
        if estimates:
            self.create_subscription(Estimates, "smvae/estimates", self._trust.estimates, newest)
        self.create_subscription(ModelInfo, "smvae/model_info", self._on_model, latched)
        self.create_subscription(TwistStamped, "operator/command", self._on_operator, newest)
        self.create_subscription(PoseStamped, "tip_setpoint", self._on_setpoint, 5)
        self.create_subscription(PoseStamped, "tip_pose", self._on_tip, 5)

    def _declared(self, kind: type) -> Any:
        """Declare one parameter per field of a settings class; return it with their values."""
        values = {
            f.name: declare_fixed(self, f.name, f.default, f"See {kind.__name__}.{f.name}")
            for f in fields(kind)
        }
        return kind(**{k: tuple(v) if isinstance(v, Sequence) else v for k, v in values.items()})

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
        stamp_ns = stamp_of(message)
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

    def _on_setpoint(self, message: PoseStamped) -> None:
        if refused := self._tip.refusal(message):
            self._refuse("the setpoint's pose", refused)
        else:
            self._on_arm(self._tip.setpoint(message))

    def _on_tip(self, message: PoseStamped) -> None:
        if refused := self._tip.refusal(message):
            self._refuse("the tip's pose", refused)
        else:
            self._on_arm(self._tip.tip(message))

    def _on_arm(self, elapsed_s: float | None) -> None:
        """Answer where the arm is with a command, whatever else has arrived or not."""
        if elapsed_s is None:
            return
        self._tip_s = time.monotonic()
        if (world := (self._trust.worlds, self._tip.jumps)) != self._world:
            self._world = world
            self._assistant.lost()
        verdict = self._trust.verdict()
        self._see(verdict)
        if absent := self._absent(self._tip_s):
            self._halt(verdict, absent)
        else:
            self._help(verdict, min(elapsed_s, _LONGEST_STEP_S))

    def _help(self, verdict: Verdict, elapsed_s: float) -> None:
        assert self._operator is not None
        tip = self._tip.newest
        assert tip is not None
        assistant, before = self._assistant, self._assistant.hand_overs
        if elapsed_s > 0.0:
            self._send(assistant.step(self._operator[2], tip, self._tip.lead, elapsed_s))
        if assistant.hand_overs > before:
            self.get_logger().warning(f"handed over to the operator: {assistant.reason}")
        handed = assistant.phase is Phase.HANDED_OVER
        self._report(verdict, assistant.reason if handed else verdict.reason)

    def _see(self, verdict: Verdict) -> None:
        """Give the controller what a latent says, once."""
        if verdict.found is None or verdict.stamp_ns == self._seen_ns:
            return
        tip = self._tip.at(verdict.stamp_ns)
        if tip is not None:
            elapsed_s = max((verdict.stamp_ns - self._seen_ns) * 1e-9, 0.0)
            seen = sighting(verdict.found, tip, remembered=verdict.remembered)
            self._assistant.see(seen, elapsed_s)
            self._seen_ns = verdict.stamp_ns

    def _watch(self) -> None:
        """Stop an arm that, or whose operator, is silent."""
        now_s = time.monotonic()
        absent = self._absent(now_s)
        if not absent and now_s - self._tip_s > self._tip_timeout_s:
            absent = "the arm does not say where its tip is"
        if absent:
            self._halt(self._trust.verdict(), absent)

    def _halt(self, verdict: Verdict, reason: str) -> None:
        """Command nothing, at once, without the limit on acceleration."""
        self._send(self._assistant.stop())
        self._report(verdict, reason)

    def _refuse(self, what: str, why: str) -> None:
        if self._rarely(what):
            self.get_logger().warning(f"{what} refused: {why}")

    def _send(self, motion: Motion) -> None:
        message = TwistStamped()
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = self._frame_id
        for axis, value in zip(_AXES, motion, strict=True):
            group, name = axis.split(".")
            setattr(getattr(message.twist, group), name, float(value))
        self._command.publish(message)

    def _report(self, verdict: Verdict, reason: str) -> None:
        """Say on `~/assistance` what is done and why, and log what changes."""
        assistant, belief = self._assistant, self._assistant.belief
        values = {"phase": assistant.phase.value}
        values |= {
            "weight": f"{assistant.weights[0]:.4f}",
            "weight.yaw": f"{assistant.weights[1]:.4f}",
        }
        for axis, unit, pose, std in zip(
            ("x", "y", "z", "yaw"), ("m", "m", "m", "rad"), belief.pose, belief.std, strict=True
        ):
            if np.isfinite(std):
                values[f"hole.{axis} [{unit}]"] = f"{pose:.5f}"
                values[f"std.{axis} [{unit}]"] = f"{std:.5f}"
        contact = None if verdict.found is None else verdict.found.get("contact")
        if contact is not None:
            values["contact"] = f"{float(contact.value[0]):.3f}"
        values |= {"agreement": f"{belief.agreement:.3f}"}
        values |= {"seatings": str(assistant.seatings), "hand_overs": str(assistant.hand_overs)}
        said = reason or "assisting"
        self._assistance.publish(
            DiagnosticStatus(
                level=DiagnosticStatus.WARN if reason else DiagnosticStatus.OK,
                name="shared autonomy",
                message=said,
                values=[KeyValue(key=k, value=v) for k, v in values.items()],
            )
        )
        self._log(said)

    def _log(self, said: str) -> None:
        """Log what is done when it changes; of what changes back and forth, what stands by then."""
        now_s = time.monotonic()
        if said != self._said[0] and now_s - self._said[1] >= _SAY_EVERY_S:
            self._said = said, now_s
            self.get_logger().info(said)


def _get(twist: Any, axis: str) -> float:
    group, name = axis.split(".")
    return float(getattr(getattr(twist, group), name))


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 when it ended as asked, 1 with a line when it cannot start."""
    return process.run(SharedAutonomyDemo, args)


if __name__ == "__main__":
    sys.exit(main())
