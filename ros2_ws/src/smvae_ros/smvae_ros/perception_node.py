"""`perception_node`: the lifecycle node that publishes a latent of whichever sensors are alive.

Callbacks (inputs.py) fill the mailbox, one thread (inference.py) empties it, outputs.py publishes;
session.py holds what lives from configure to cleanup. This file is the lifecycle: what exists in
which state, and who is told when something fails.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from smvae_msgs.msg import LatentState

from smvae_core.bundle import Bundle
from smvae_core.conversions import decoder, require_converters
from smvae_core.errors import ConfigError, SMVAEError
from smvae_ros import diagnostics, messages, parameters, qos
from smvae_ros.bundle_path import resolve
from smvae_ros.inference import Result
from smvae_ros.session import Session

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def guarded(transition: Transition) -> Transition:
    """Log why a transition failed and return FAILURE; rclpy itself would swallow the exception."""

    @wraps(transition)
    def run(self: Any, state: LifecycleState) -> TransitionCallbackReturn:
        name = transition.__name__.removeprefix("on_")
        try:
            return transition(self, state)
        except Exception as err:
            expected = isinstance(err, SMVAEError)
            self.failure = str(err) if expected else f"{type(err).__name__}: {err}"
            self.get_logger().error(f"{name} failed: {self.failure}")
            self.release()
            return FAILURE

    return run


class PerceptionNode(LifecycleNode):
    """Any subset of sensors in, one posterior out."""

    def __init__(self, **options: Any) -> None:
        """Declare the parameters that need no bundle; `options` go to rclpy's node.

        Raises:
            ConfigError: If a parameter given from outside has another type or is out of range.
        """
        super().__init__("smvae", **options)
        self.failure = ""
        self._table = parameters.table(())
        self._session: Session | None = None
        self._watchdog: Any = None
        self._diagnostics_timer: Any = None
        self._active = False
        self._generation = 0
        self._jumps = 0
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        parameters.declare(self, self._table.values())
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._parameters_changed)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.output())
        self._start_diagnostics()
        threshold = JumpThreshold(
            min_forward=Duration(seconds=1), min_backward=Duration(nanoseconds=-1)
        )
        self._jump = self.get_clock().create_jump_callback(
            threshold, post_callback=lambda jump: self._time_jumped("the clock jumped")
        )

    # --- lifecycle -------------------------------------------------------------------------------

    @guarded
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and verify the bundle, warm up, and latch model_info."""
        started = time.monotonic()
        bundle = self._load_bundle()
        modalities = bundle.manifest.modalities
        self._declare_modalities(parameters.table(modalities))
        values = self._values()
        reason = parameters.check(self._table, values)
        if reason:
            raise ConfigError(reason)
        image_decoder = decoder()[0]
        self._generation += 1
        self._session = Session.make(
            self,
            bundle,
            values,
            generation=self._generation,
            deliver=self._deliver,
            rejected=self._rejected,
            restarted=self._time_jumped,
        )
        self._start_diagnostics()
        self.failure = ""
        self.get_logger().info(
            f"configured '{bundle.manifest.name}' ({', '.join(bundle.manifest.names)}) from "
            f"{bundle.path} on {self._session.runtime.provider}, images by {image_decoder}, "
            f"in {time.monotonic() - started:.2f} s"
        )
        return SUCCESS

    @guarded
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin a new epoch, start the thread, subscribe."""
        session = self._session
        assert session is not None
        values = self._values()
        session.mailbox.flush()
        super().on_activate(state)
        session.inference.start()
        names = [m.name for m in session.runtime.modalities]
        session.inputs.open({n: values[f"modalities.{n}.topic"] for n in names})
        self._watchdog = self.create_timer(
            1.0 / values["heartbeat_rate_hz"], self._watch, clock=self._steady
        )
        self._active = True
        return SUCCESS

    @guarded
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop the thread; the sessions stay."""
        self._stop()
        return super().on_deactivate(state)

    @guarded
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the model and its publishers."""
        self.release()
        return SUCCESS

    @guarded
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state."""
        self.release()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything and become unconfigured, so that configure can be tried again."""
        self.release()
        return SUCCESS

    def release(self) -> None:
        """Stop and drop all that configure and activate made; safe in any state."""
        self._stop()
        if self._session is not None:
            self._session.outputs.destroy()
            self._session = None

    def _stop(self) -> None:
        self._active = False
        if self._watchdog is not None:
            self.destroy_timer(self._watchdog)
            self._watchdog = None
        if self._session is not None:
            self._session.inputs.close()
            if not self._session.inference.stop():
                self.get_logger().error("the inference thread did not stop within 2 s")

    def _load_bundle(self) -> Bundle:
        path = resolve(self.get_parameter("bundle").value)
        bundle = Bundle.load(path)
        require_converters(bundle.manifest.modalities)
        wanted = self.get_parameter("bundle_sha256").value
        if wanted and wanted != bundle.sha256:
            raise ConfigError(f"bundle {path} has SHA-256 {bundle.sha256}, expected {wanted}")
        return bundle

    # --- parameters ------------------------------------------------------------------------------

    def _declare_modalities(self, table: dict[str, parameters.Parameter]) -> None:
        """Declare the parameters of this bundle's modalities, and forget those of another's."""
        for name in list(self.get_parameters_by_prefix("modalities")):
            if f"modalities.{name}" not in table:
                self.undeclare_parameter(f"modalities.{name}")
        parameters.declare(self, table.values())
        self._table = table

    def _values(self) -> dict[str, Any]:
        return {name: self.get_parameter(name).value for name in self._table}

    def _check_parameters(self, changes: list[RosParameter]) -> SetParametersResult:
        """Refuse a change that cannot be, with the reason."""
        known = {p.name: p.value for p in changes if p.name in self._table}
        for name in known if self._session is not None else ():
            if not self._table[name].live:
                reason = f"{name} may change only while the node is unconfigured"
                return SetParametersResult(successful=False, reason=reason)
        if not known or not all(self.has_parameter(name) for name in self._table):
            return SetParametersResult(successful=True)
        reason = parameters.check(self._table, self._values() | known)
        return SetParametersResult(successful=not reason, reason=reason)

    def _parameters_changed(self, changes: list[RosParameter]) -> None:
        if self._session is not None and any(p.name in self._table for p in changes):
            self._session.apply(self._values())

    # --- while active ----------------------------------------------------------------------------

    def _deliver(self, result: Result) -> None:
        """Publish a result (inference thread)."""
        session = self._session
        if session is None:
            return
        latency_s = session.outputs.publish(result, session.inputs)
        if math.isfinite(latency_s):
            session.inference.timing.add(result.inference_s, latency_s)
        elif session.outputs.not_finite:
            self.get_logger().error("the model's output is not finite", throttle_duration_sec=5.0)

    def _rejected(self, name: str, text: str) -> None:
        self.get_logger().warning(f"message rejected: {text}", throttle_duration_sec=5.0)

    def _time_jumped(self, reason: str) -> None:
        if self._active and self._session is not None:
            self._jumps += 1
            epoch = self._session.mailbox.flush()
            self.get_logger().info(f"{reason}: all samples dropped, epoch {epoch}")

    def _watch(self) -> None:
        """Heartbeat while blind; leave active when the inference thread is dead."""
        session = self._session
        if not self._active or session is None:
            return
        if not session.inference.alive:
            error = session.inference.error
            self.failure = f"inference stopped: {type(error).__name__}: {error}"
            self.get_logger().error(f"{self.failure}; leaving active")
            self._blind(session, LatentState.ERROR)
            self.trigger_deactivate()
            return
        quiet_s = time.monotonic() - session.outputs.last_published_s
        period_s = 1.0 / self.get_parameter("heartbeat_rate_hz").value
        if quiet_s >= 0.9 * period_s and session.mailbox.blind():
            self._blind(session, LatentState.NO_INPUT)

    @staticmethod
    def _blind(session: Session, status: int) -> None:
        observation = session.mailbox.observe()
        modalities = messages.statuses(observation, session.outputs.kinds)
        session.outputs.publish_blind(status, session.mailbox.epoch, modalities)

    def _start_diagnostics(self) -> None:
        if self._diagnostics_timer is not None:
            self.destroy_timer(self._diagnostics_timer)
        period_s = self.get_parameter("diagnostics_period_s").value
        self._diagnostics_timer = self.create_timer(period_s, self._diagnose, clock=self._steady)

    def _diagnose(self) -> None:
        session = self._session
        entries = [diagnostics.model(session.runtime if session else None, self.failure)]
        if session is not None:
            for name, status in session.mailbox.observe().status.items():
                entries.append(diagnostics.modality(name, status, session.inputs))
            entries.append(
                diagnostics.inference(
                    session.inference, session.outputs, session.inputs, self._active
                )
            )
            sim_time = self.get_parameter("use_sim_time").value
            entries.append(diagnostics.time_source(sim_time, session.mailbox.epoch, self._jumps))
        provider = session.runtime.provider if session else ""
        stamp = self.get_clock().now().nanoseconds
        name = self.get_fully_qualified_name()
        self._diagnostics.publish(diagnostics.to_array(entries, name, provider, stamp))


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return the exit code."""
    from smvae_ros.process import run

    return run(PerceptionNode, args)
