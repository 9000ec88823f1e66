"""`perception_node`: the lifecycle node that publishes a latent of whichever sensors are alive.

Callbacks (inputs.py) fill the mailbox, one thread (inference.py) empties it, outputs.py publishes;
session.py holds what lives as long as a model. Parameters are checked in node_parameters.py, what
goes wrong is noticed in supervision.py. This file is the lifecycle: what exists in which state.
"""

from __future__ import annotations

import time
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from smvae_core.errors import ConfigError
from smvae_ros.infer.inference import Inference
from smvae_ros.infer.session import Session
from smvae_ros.lifecycle.guards import guarded, refuse_impossible, surviving
from smvae_ros.parameters.node import NodeParameters, Phase, Prepared
from smvae_ros.report.resources import give_back_memory, keep_memory
from smvae_ros.report.restarts import SPAN_S, Restarts
from smvae_ros.report.supervision import Supervision

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
#: Leads to on_error, which releases everything and becomes unconfigured.
ERROR = TransitionCallbackReturn.ERROR
#: The process is gone this long after SIGINT or SIGTERM; 2 s are promised.
GRACE_S = 1.5


class PerceptionNode(LifecycleNode):
    """Any subset of sensors in, one posterior out."""

    def __init__(self, **options: Any) -> None:
        """Declare the parameters that need no bundle; `options` go to rclpy's node.

        Raises:
            ConfigError: If a parameter given from outside has another type or is out of range.
        """
        super().__init__("smvae", **options)
        refuse_impossible(self)
        self.failure = ""
        self.jumps = 0
        self._clock_jumps = Restarts()
        self._session: Session | None = None
        self._active = self._finalized = False
        self._generation = 0
        self._epoch = 0
        self._left_running: Inference | None = None
        self._settings = NodeParameters(self, self)
        self._supervision = Supervision(self, self)
        reset = surviving(self, self._on_reset, _not_done)
        self._reset = self.create_service(Trigger, "~/reset", reset)
        threshold = JumpThreshold(
            min_forward=Duration(seconds=1), min_backward=Duration(nanoseconds=-1)
        )
        jumped = surviving(self, self._clock_jumped)
        self._jump = self.get_clock().create_jump_callback(threshold, post_callback=jumped)
        self.get_logger().info("unconfigured; waiting for configure")

    @property
    def session(self) -> Session | None:
        """What configure made; None while unconfigured."""
        return self._session

    @property
    def phase(self) -> Phase:
        """What exists: nothing, a model, a running model; or that nothing will any more."""
        if self._finalized:
            return "finalized"
        if self._session is None:
            return "unconfigured"
        return "active" if self._active else "inactive"

    @property
    def bundle_sha256(self) -> str:
        """Of the bundle in use, '' without."""
        return self._session.runtime.bundle.sha256 if self._session is not None else ""

    @property
    def remembers(self) -> bool:
        """Whether the bundle in use has a memory."""
        return self._session is not None and self._session.runtime.recall is not None

    @property
    def stuck(self) -> str:
        """Why no model can be taken into use: a thread of before that did not end; '' = one can."""
        left = [self._left_running]
        if self._session is not None and not self._active:
            left.append(self._session.inference)
        if any(inference is not None and inference.alive for inference in left):
            return (
                "the inference thread of the last activation still runs: wait until its run ends, "
                "or start this process anew"
            )
        return ""

    # --- lifecycle -------------------------------------------------------------------------------

    @guarded(otherwise=FAILURE)
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and verify the bundle, run every subset once, and latch model_info."""
        started = time.monotonic()
        self._refuse_while_stuck()
        self._use(self._settings.prepare())
        assert self._session is not None
        self._supervision.restart_diagnostics()
        self._tell_readers(self._session)
        self._tell_ignored(self._settings.ignored())
        self.get_logger().info(f"configured in {time.monotonic() - started:.2f} s")
        return SUCCESS

    @guarded(otherwise=FAILURE)
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin a new epoch, start the thread, subscribe."""
        session = self._session
        if session is None:
            raise ConfigError("no model is loaded: cleanup, then configure")
        self._refuse_while_stuck()
        try:
            self._start(session, state)
        except BaseException:
            self._stop()
            raise
        self.failure = ""
        return SUCCESS

    @guarded(otherwise=ERROR)
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop the thread; the sessions stay."""
        self._stop()
        return super().on_deactivate(state)

    @guarded(otherwise=ERROR)
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the model and its publishers."""
        self.release()
        return SUCCESS

    @guarded(otherwise=ERROR)
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state, for good."""
        self.release()
        self._finalized = True
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything and become unconfigured, so that configure can be tried again."""
        self.release()
        return SUCCESS

    def release(self) -> None:
        """Stop and drop all that configure and activate made; safe in any state."""
        self._stop()
        if self._session is not None:
            self._drop(self._session)
            self._session = None
            give_back_memory()  # wanted now, a GPU's above all, not some cycles later

    def _drop(self, session: Session) -> None:
        """Remove what a stopped session has in the node; its thread may still run, and is noted."""
        self._epoch = session.mailbox.epoch
        self._left_running = session.inference
        session.outputs.destroy()

    def _refuse_while_stuck(self) -> None:
        if self.stuck:
            raise ConfigError(self.stuck)

    def _start(self, session: Session, state: LifecycleState) -> None:
        values = self._settings.values()
        session.mailbox.flush()
        session.outputs.begin()
        super().on_activate(state)
        session.inference.start()
        names = [m.name for m in session.runtime.modalities]
        keep_memory()
        session.inputs.open({n: values[f"modalities.{n}.topic"] for n in names})
        self._tell_ignored(self._settings.ignored_overrides())
        self._supervision.start()
        self._active = True

    def _stop(self) -> None:
        self._active = False
        self._supervision.stop()
        if self._session is not None:
            self._session.inputs.close()
            if not self._session.inference.stop():
                self.get_logger().error("the inference thread does not stop; it publishes no more")

    # --- models ----------------------------------------------------------------------------------

    def _use(self, prepared: Prepared) -> None:
        """Make this model's session, and only then drop the present one: it stays if that fails."""
        old = self._session
        session = Session.make(
            self,
            prepared.runtime,
            prepared.values,
            generation=self._generation + 1,
            epoch=self._epoch if old is None else old.mailbox.epoch,
            restarted=self._restarted,
        )
        self._session = session
        self._generation = session.generation
        if old is not None:
            self._drop(old)
        del old
        give_back_memory()  # wanted now, a GPU's above all, not some cycles later
        self._settings.adopt(prepared.table)
        self.failure = ""
        manifest, bundle = prepared.runtime.manifest, prepared.runtime.bundle
        self.get_logger().info(
            f"model {self._generation}: '{manifest.name}' ({', '.join(manifest.names)}) from "
            f"{bundle.path} on {prepared.runtime.provider} (asked for "
            f"{prepared.values['provider']})"
        )

    def _tell_ignored(self, parameters: dict[str, str]) -> None:
        for name, why in parameters.items():
            self.get_logger().warning(f"parameter {name} is ignored: {why}")

    def _tell_readers(self, session: Session) -> None:
        readers, log = session.readers, self.get_logger()
        by_cloud = f", clouds by {readers.cloud}" if readers.cloud else ""
        log.info(f"images by {readers.image}{by_cloud}")
        for note in filter(None, (readers.image_note, readers.cloud_note)):
            log.warning(note)

    def replace(self, prepared: Prepared) -> None:
        """Put another model in the place of the present one (`bundle` set while inactive)."""
        try:
            self._use(prepared)
        except Exception as err:  # nothing but a bug: what can be wrong with a bundle was checked
            self._settings.forget_others()
            self.failure = f"{type(err).__name__}: {err}"
            self.get_logger().error(
                f"the new model cannot be used, the present one stays: {self.failure}"
            )

    def apply(self, values: dict[str, Any]) -> None:
        """Use changed parameters at once."""
        if self._session is not None:
            self._session.apply(values)

    # --- while active ----------------------------------------------------------------------------

    def _clock_jumped(self, _: Any) -> None:
        if not self._active or self._session is None:
            return
        self._session.mailbox.flush()
        times = self._clock_jumps.often(time.monotonic())
        self._restarted("the clock jumped", not times)
        if times:
            self.get_logger().warning(
                f"the clock jumped {times} times in {SPAN_S:g} s, and each time all samples were "
                f"dropped: /clock has {self.count_publishers('/clock')} publisher(s); let one "
                "publish there",
                throttle_duration_sec=5.0,
            )

    def _restarted(self, reason: str, told: bool = True) -> None:
        """Count a new epoch that time made, and tell of it: everything before it is forgotten."""
        if self._session is not None:
            self.jumps += 1
            epoch = self._session.mailbox.epoch
            if told:
                self.get_logger().info(f"{reason}: all samples dropped, epoch {epoch}")

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Forget all samples and begin a new epoch; counts stay."""
        if self._session is None:
            response.message = "not configured: there is nothing to forget"
            return response
        epoch = self._session.mailbox.flush()
        response.success = True
        response.message = f"samples forgotten, epoch {epoch} begun; counts of messages kept"
        self.get_logger().info(f"reset: {response.message}")
        return response


def _not_done(reason: str, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
    response.success, response.message = False, reason
    return response


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return the exit code."""
    from smvae_ros.lifecycle.process import run

    return run(PerceptionNode, args, grace_s=GRACE_S)
