"""One attempt in simulated time: cell, operator, failing sensors, method and controller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from smvae_core.assistance.belief import HoleBelief
from smvae_core.assistance.controller import Assistance, Phase, Settings
from smvae_core.assistance.limits import Limits, limited
from smvae_core.assistance.pose import Motion, Pose, difference
from smvae_datasets.simulation.closed_loop.failures import FailingSensors, Failure, Samples
from smvae_datasets.simulation.closed_loop.methods import Method
from smvae_datasets.simulation.closed_loop.outcome import Outcome
from smvae_datasets.simulation.robot import STEP_MS, SimulatedRobot
from smvae_datasets.simulation.stick_operator import HOVER_M, OperatorKind, StickOperator

STEP_S = STEP_MS * 1e-3
#: An attempt ends after so long [s].
ATTEMPT_S = 20.0
#: Seated: the tip is so far below the hole's edge [m].
SEATED_M = 0.028
#: Readings of force that the model takes.
WINDOW = 32
#: A belief that estimates agree with less than this is said to be contradicted.
CONTRADICTED = 0.5
#: Numbers may exceed a limit by this much, of rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One step of an attempt, before the robot moves on; for who watches, and changes nothing."""

    time_s: float
    tip: Pose
    hole: Pose
    aim: Pose
    """Where the operator thinks that the hole is."""
    phase: Phase
    believed: Pose
    """Where the controller thinks so; of use where `unsure` is finite."""
    unsure: Pose
    """Deviations of that."""
    failing: tuple[str, ...]
    """Sensors that something is wrong with by now."""


Watch = Callable[[Moment], None]


def attempt(
    robot: SimulatedRobot,
    method: Method,
    kind: OperatorKind,
    failure: Failure,
    episode: int,
    seed: int,
    settings: Settings,
    watch: Watch | None = None,
) -> Outcome:
    """Play one attempt, which `seed`, `episode` and the operator's kind fix but for the method.

    Args:
        robot: Its seed fixes the cells.
        method: Who sees the hole.
        kind: Of the operator.
        failure: What becomes of the sensors.
        episode: Number of the cell and of the start.
        seed: Of the operator's and the failure's random numbers.
        settings: Of the controller; its limits hold without it as well.
        watch: Is shown every step.
    """
    robot.reset(episode)
    method.begin()
    streams = [np.random.default_rng([seed, episode, stream]) for stream in range(2)]
    operator = StickOperator(streams[0], kind, STEP_S, ATTEMPT_S)
    sensors = FailingSensors(failure, streams[1])
    assistance, limits = Assistance(settings), settings.limits
    hole, last = robot.hole_pose, np.zeros(4)
    above = hole[:3] + np.array([0.0, 0.0, HOVER_M])
    half_m = 0.5 * float(np.linalg.norm(robot.peg_pose[:3] - above))
    told, seated, step = _Told(), False, 0
    force = np.zeros((STEP_MS, 6))
    for step in range(round(ATTEMPT_S / STEP_S)):
        tip, lead = robot.peg_pose, robot.lead
        if method.perceives and step:
            midway = float(np.linalg.norm(tip[:3] - above)) < half_m
            samples = _samples(robot, force, last * STEP_S, sensors.watched)
            seen = method.see(sensors.deliver(samples, midway), tip, hole)
            if seen is not None:
                assistance.see(seen, STEP_S)
            doubted = method.flagged or assistance.belief.agreement < CONTRADICTED
            awaited = sensors.begun or not failure.sensors
            told.sensed(step * STEP_S, failed=sensors.begun, flagged=doubted and awaited)
        elif (seen := method.see({}, tip, hole)) is not None:
            assistance.see(seen, STEP_S)
        wanted = operator.command(difference(tip, hole), SEATED_M)
        if method.assisted:
            motion = assistance.step(wanted, tip, lead, STEP_S)
        else:
            motion = limited(wanted, last, tip, lead, STEP_S, limits)
        if assistance.phase is not Phase.APPROACH or robot.peak_contact_force_n:
            told.touches(assistance.belief, hole)
        told.breaches += _breaks(motion, tip, lead, limits)
        if watch is not None:
            failing = failure.sensors if sensors.begun else ()
            aim = hole + operator.aim_error
            watch(_moment(step * STEP_S, tip, hole, aim, assistance, failing))
        robot.command(motion * STEP_S)
        force, last = robot.advance(STEP_MS), motion
        told.peak_n = max(told.peak_n, robot.peak_contact_force_n)
        if seated := bool(hole[2] - robot.peg_pose[2] > SEATED_M):
            break
    return told.outcome(seated, (step + 1) * STEP_S, assistance.hand_overs)


def _moment(
    time_s: float,
    tip: Pose,
    hole: Pose,
    aim: Pose,
    assistance: Assistance,
    failing: tuple[str, ...],
) -> Moment:
    """Return what is shown of a step."""
    return Moment(
        time_s=time_s,
        tip=tip,
        hole=hole,
        aim=aim,
        phase=assistance.phase,
        believed=assistance.belief.pose,
        unsure=assistance.belief.std,
        failing=failing,
    )


@dataclass(kw_only=True)
class _Told:
    """What an outcome tells of the way there; its fields have the names and units of `Outcome`."""

    peak_n: float = 0.0
    breaches: int = 0
    failed_s: float = np.nan
    flagged_s: float = np.nan
    missed_mm: float = np.nan
    missed_rad: float = np.nan
    touched: bool = False

    def sensed(self, time_s: float, *, failed: bool, flagged: bool) -> None:
        """Note the first time before the touch that sensors had failed, and that it was noticed."""
        if self.touched:
            return
        if failed and np.isnan(self.failed_s):
            self.failed_s = time_s
        if flagged and np.isnan(self.flagged_s):
            self.flagged_s = time_s

    def touches(self, belief: HoleBelief, hole: Pose) -> None:
        """Note at the first touch how far the belief is off, where there is one."""
        if self.touched:
            return
        self.touched = True
        missed = difference(belief.pose, hole)
        if np.isfinite(belief.std[:2]).all():
            self.missed_mm = 1e3 * float(np.linalg.norm(missed[:2]))
        if np.isfinite(belief.std[3]):
            self.missed_rad = abs(float(missed[3]))

    def outcome(self, seated: bool, time_s: float, hand_overs: int) -> Outcome:
        """Return the outcome of an attempt that ended."""
        return Outcome(
            seated=seated,
            time_s=time_s,
            peak_n=self.peak_n,
            hand_overs=hand_overs,
            failed_s=self.failed_s,
            flagged_s=self.flagged_s,
            missed_mm=self.missed_mm,
            missed_rad=self.missed_rad,
            breaches=self.breaches,
        )


def _samples(
    robot: SimulatedRobot, force: np.ndarray, displacement: np.ndarray, watched: bool
) -> Samples:
    """Return this step's samples by sensor, raw in SI units; black images where nobody watches."""
    if watched:
        image, depth_m = robot.render()
    else:
        image, depth_m = np.zeros((128, 128, 3), np.uint8), np.zeros((128, 128), np.float32)
    return {
        "rgb": image,
        "depth": depth_m,
        "force": force[-WINDOW:].astype(np.float32),
        "action": displacement.astype(np.float32),
    }


def _breaks(motion: Motion, tip: Pose, lead: Pose, limits: Limits) -> bool:
    """Return whether a command is beyond a limit, told apart from how the limits are kept."""
    after = lead + motion * STEP_S
    setpoint, before = tip + after, tip + lead
    force = np.linalg.norm([lead[:3], after[:3]], axis=1) * limits.stiffness_n_per_m
    torque = np.abs([lead[3], after[3]]) * limits.stiffness_nm_per_rad
    low = np.minimum(limits.area_low_m, before[:3]) - ROUNDING
    high = np.maximum(limits.area_high_m, before[:3]) + ROUNDING
    return bool(
        not np.isfinite(motion).all()
        or np.linalg.norm(motion[:3]) > limits.max_speed + ROUNDING
        or abs(motion[3]) > limits.max_turn + ROUNDING
        or force[1] > max(limits.max_force_n, force[0]) + 1e-6
        or torque[1] > max(limits.max_torque_nm, torque[0]) + 1e-6
        or (setpoint[:3] < low).any()
        or (setpoint[:3] > high).any()
    )
