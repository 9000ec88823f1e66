"""What watches an active node: heartbeats while blind, an end to a bad thread, diagnostics.

All on the steady clock, so that a paused /clock silences nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from smvae_msgs.msg import LatentState

from smvae_ros import qos
from smvae_ros.infer.session import Session
from smvae_ros.lifecycle.guards import surviving
from smvae_ros.report import diagnostics, resources

#: The watchdog looks at least so often [s], however rare heartbeats are.
WATCH_PERIOD_S = 0.2


class Supervised(Protocol):
    """What the supervision needs of its node."""

    failure: str
    """Why the last transition failed, or inference ended; '' = neither."""
    jumps: int
    """Time jumps while active."""

    @property
    def session(self) -> Session | None:
        """What configure made."""

    @property
    def phase(self) -> str:
        """unconfigured, inactive, active or finalized."""


class Supervision:
    """Two timers of a node: the watchdog while active, diagnostics always."""

    def __init__(self, node: Any, supervised: Supervised) -> None:
        """Publish diagnostics from now on.

        Args:
            node: The rclpy lifecycle node.
            supervised: Who is watched, usually the same object.
        """
        self.node = node
        self._supervised = supervised
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._watchdog: Any = None
        self._timer: Any = None
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.output())
        self.restart_diagnostics()

    def restart_diagnostics(self) -> None:
        """Publish every `diagnostics_period_s`, on `device_id`; both may have changed."""
        if self._timer is not None:
            self.node.destroy_timer(self._timer)
        self._gpu = resources.Gpu(self.node.get_parameter("device_id").value)
        period_s = self.node.get_parameter("diagnostics_period_s").value
        self._timer = self._every(period_s, self.diagnose)

    def start(self) -> None:
        """Watch an active node."""
        self._watchdog = self._every(min(self._heartbeat_s(), WATCH_PERIOD_S), self.watch)

    def _every(self, period_s: float, tick: Callable[[], None]) -> Any:
        return self.node.create_timer(period_s, surviving(self.node, tick), clock=self._steady)

    def _heartbeat_s(self) -> float:
        return 1.0 / float(self.node.get_parameter("heartbeat_rate_hz").value)

    def stop(self) -> None:
        """Watch no more; diagnostics go on."""
        if self._watchdog is not None:
            self.node.destroy_timer(self._watchdog)
            self._watchdog = None

    def watch(self) -> None:
        """Say NO_INPUT while blind; leave active when the inference thread is dead or hangs."""
        session = self._supervised.session
        if session is None or self._supervised.phase != "active":
            return
        if reason := session.inference.check():
            self._supervised.failure = f"inference {reason}"
            self.node.get_logger().error(f"{self._supervised.failure}; leaving active")
            try:
                self._blind(session, LatentState.ERROR)
            finally:
                self.node.trigger_deactivate()
            return
        quiet_s = time.monotonic() - session.outputs.last_published_s
        if quiet_s >= 0.9 * self._heartbeat_s() and session.mailbox.blind():
            self._blind(session, LatentState.NO_INPUT)

    @staticmethod
    def _blind(session: Session, status: int) -> None:
        mailbox = session.mailbox
        session.outputs.publish_blind(status, mailbox.epoch, mailbox.statuses)

    def diagnose(self) -> None:
        """Publish one DiagnosticArray."""
        node, session, phase = self.node, self._supervised.session, self._supervised.phase
        clock_ns = node.get_clock().now().nanoseconds
        wanted = tuple(node.get_parameter(name).value for name in ("bundle", "provider"))
        entries = [diagnostics.model(session, phase, self._supervised.failure, wanted)]
        if session is not None:
            active, last = phase == "active", session.outputs.last
            mismatches = session.inputs.tell_mismatches()
            said = {s.name: s for s in last.modalities} if last is not None else {}
            for name, status in session.mailbox.statuses(clock_ns).items():
                unheard, told = mismatches.get(name, ""), said.get(name)
                entries.append(
                    diagnostics.modality(name, status, session.inputs, active, unheard, told)
                )
            entries += [
                diagnostics.inference(session, active),
                diagnostics.latent(session),
                diagnostics.time_source(
                    node.get_parameter("use_sim_time").value,
                    clock_ns,
                    session.mailbox.epoch,
                    self._supervised.jumps,
                    session.outputs.stamp_to_published_s,
                ),
            ]
        entries += [diagnostics.memory(), diagnostics.gpu(self._gpu)]
        provider = session.runtime.provider if session is not None else ""
        hardware = resources.hardware_id(self._gpu, provider)
        name = node.get_fully_qualified_name()
        self._publisher.publish(diagnostics.to_array(entries, name, hardware, clock_ns))
