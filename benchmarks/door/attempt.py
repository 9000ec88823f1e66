"""One attempt at the door: operator, assistance, failing sensors, and who tells of the handle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.door.assistance import APPROACH, AXES, DoorAssistance
from benchmarks.door.operator import HOVER_M, DoorOperator, OperatorKind
from benchmarks.door.outcome import DoorOutcome
from benchmarks.door.timing import ATTEMPT_S, SEE_STEPS, STEP_S, WINDOW
from smvae_core.assistance.sighting import Sighting
from smvae_core.perceiver import Perceived
from smvae_core.readout import Estimate
from smvae_datasets.simulation.closed_loop.failures import FailingSensors, Failure, Samples
from smvae_datasets.simulation.closed_loop.methods import Latents, Method

if TYPE_CHECKING:
    from benchmarks.door.simulator import DoorRobot

#: Deviations that the truth of the handle is told with: of the place [m]; the yaw is as sure.
TRUTH_STD = (0.001,) * 4


class DoorLatents(Latents):
    """Sees the handle by a bundle's latents: targets `offset` and `handle` of robot.yaml."""

    step_s = SEE_STEPS * STEP_S

    def _found(self, perceived: Perceived) -> Mapping[str, Estimate]:
        found = super()._found(perceived)
        return {"offset": found["offset"], "hole": found["handle"]}


def across(seen: Sighting) -> Sighting:
    """Return a sighting in the approach frame; of the turn about its z nothing is known."""
    return Sighting(pose=APPROACH @ seen.pose, std=np.append(seen.std[[*AXES]], np.inf))


def steps(
    robot: DoorRobot, operator: DoorOperator, assistance: DoorAssistance, lasts_s: float
) -> Iterator[int]:
    """Yield the number of each control step before it is made, until door or operator are done."""
    for step in range(round(lasts_s / STEP_S)):
        yield step
        door, tip = robot.door, APPROACH @ robot.tip
        offset = tip - APPROACH @ np.append(door.handle, 0.0)
        wanted = operator.command(offset, door.latch_rad)
        lead, holds = APPROACH @ robot.lead, operator.holds
        motion = assistance.step(wanted, tip, lead, STEP_S, holds=holds)
        robot.command(APPROACH.T @ motion * STEP_S)
        robot.advance(closed=holds)
        if robot.opened or operator.phase == "over":
            return


def attempt(
    robot: DoorRobot, teller: Method, kind: OperatorKind, failure: Failure, number: int, seed: int
) -> DoorOutcome:
    """Play one attempt, which `seed` and `number` fix but for who tells of the handle.

    Args:
        robot: Its seed fixes the doors.
        teller: Who tells of the handle.
        kind: Of the operator.
        failure: What becomes of the sensors.
        number: Of the door and of the start.
        seed: Of the operator's and the failure's random numbers.
    """
    robot.reset(number)
    teller.begin()
    streams = [np.random.default_rng([seed, number, stream]) for stream in range(2)]
    operator = DoorOperator(streams[0], kind, STEP_S)
    sensors = FailingSensors(failure, streams[1])
    assistance = DoorAssistance()
    handle = np.append(robot.door.handle, 0.0)  # it stands still until it is held
    goal = APPROACH @ handle
    half_m = 0.5 * float(np.linalg.norm(APPROACH @ robot.tip - goal - [0, 0, HOVER_M, 0]))
    placed_mm = missed_mm = np.nan
    looks = refused = step = 0
    for step in steps(robot, operator, assistance, ATTEMPT_S):
        aside = APPROACH @ robot.tip - goal
        if operator.holds:
            if np.isnan(placed_mm):
                placed_mm = 1e3 * float(np.linalg.norm(aside[:2]))
                if np.isfinite(assistance.belief.std[:2]).all():
                    missed = (assistance.belief.pose - goal)[:2]
                    missed_mm = 1e3 * float(np.linalg.norm(missed))
        elif step % SEE_STEPS == 0:
            samples: Samples = {}
            if teller.perceives:
                midway = float(np.linalg.norm(aside[:3] - [0, 0, HOVER_M])) < half_m
                samples = sensors.deliver(_samples(robot), midway)
            seen = teller.see(samples, robot.tip, handle)
            looks, refused = looks + 1, refused + teller.flagged
            if seen is not None:
                assistance.see(across(seen), SEE_STEPS * STEP_S)
    return DoorOutcome(
        opened=robot.opened,
        time_s=(step + 1) * STEP_S,
        hinge_rad=robot.door.hinge_rad,
        peak_n=float(np.linalg.norm(np.array(robot.readings)[:, :3], axis=1).max()),
        placed_mm=placed_mm,
        missed_mm=missed_mm,
        refused=refused / looks if teller.perceives else np.nan,
    )


def _samples(robot: DoorRobot) -> Samples:
    """Return what the sensors of robot.yaml say now, raw in SI units."""
    return {
        **robot.images(),
        "wrench": np.array(robot.readings[-WINDOW:], np.float32),
        "joints": robot.joints.astype(np.float32),
    }
