"""The scripted operator: a person with a joystick, inserting the peg attempt after attempt.

An attempt: approach -> touch -> search -> insert -> seat -> withdraw, then the next from a new
start. Like a person steering by eye, the operator commands a displacement proportional to what is
still missing, so speed tells distance; near the box the force tells the rest: a light push while
searching, a firm one while inserting, a hard one to confirm the seat. Mistakes are part of the
plan: a wrong idea of where the hole is, a push too hard, leaning on the walls until the peg jams,
hesitation, giving up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import wrap_angle
from smvae_datasets.simulation.cell import HOLE_DEPTH_M, VariationRange
from smvae_datasets.simulation.impedance import STIFFNESS

GAIN = 0.13
"""Fraction of the remaining error commanded per 20 Hz step."""
HOVER_M = 0.02
"""The approach ends this high above the hole."""
STEP_LIMIT = np.array([0.03, 0.03, 0.03, 0.15])
"""No command exceeds this [m, m, m, rad]; 0.03 m per step is 0.6 m/s."""
NOISE = np.array([0.0004, 0.0004, 0.0003, 0.003])
"""Standard deviation of the hand's tremor [m, m, m, rad], correlated over about ten steps."""
SEATED_M = HOLE_DEPTH_M - 0.003


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One attempt, mistakes included."""

    start_offset: NDArray[np.float64]
    """(4,) where it starts from, relative to the hole [m, m, m, rad]."""
    aim_error: NDArray[np.float64]
    """(3,) x, y [m] and yaw [rad]: where the operator believes the hole is, minus where it is."""
    gain: float
    push_n: tuple[float, float, float]
    """Push while searching, inserting, seating."""
    patience: int
    """Steps of searching before giving up."""
    jam_depth_m: float | None
    """Depth at which the operator leans on the walls; None if not in this attempt."""
    jam_lean: NDArray[np.float64]
    """(3,) x, y [m], yaw [rad] of that lean."""
    jam_steps: int
    gives_up_jammed: bool


def draw_plan(rng: np.random.Generator, ranges: VariationRange) -> Plan:
    """Draw an attempt; it starts up to `ranges.start_distance_m` from above the hole."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.arcsin(rng.uniform(0.1, 0.95))
    distance = rng.uniform(0.06, ranges.start_distance_m)
    start = distance * np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    start[2] += HOVER_M
    misses = rng.random() < 0.35
    miss = rng.uniform(0.006, 0.014) if misses else abs(rng.normal(0.0, 0.002))
    direction = rng.uniform(-np.pi, np.pi)
    twisted = rng.random() < 0.2
    yaw_error = (
        rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.25) if twisted else rng.normal(0.0, 0.03)
    )
    hard = 1.6 if rng.random() < 0.15 else 1.0
    lean = rng.uniform(-np.pi, np.pi)
    jams, jam_depth = rng.random() < 0.45, rng.uniform(0.004, 0.03)
    return Plan(
        start_offset=np.append(start, rng.uniform(-ranges.start_yaw_rad, ranges.start_yaw_rad)),
        aim_error=np.array([miss * np.cos(direction), miss * np.sin(direction), yaw_error]),
        gain=GAIN * rng.uniform(0.92, 1.08),
        push_n=(hard * rng.uniform(6, 8), hard * rng.uniform(11, 14), rng.uniform(22, 27)),
        patience=int(rng.integers(30, 65)),
        jam_depth_m=float(jam_depth) if jams else None,
        jam_lean=np.array([0.02 * np.cos(lean), 0.02 * np.sin(lean), rng.choice([-0.25, 0.25])]),
        jam_steps=int(rng.integers(8, 25)),
        gives_up_jammed=bool(rng.random() < 0.35),
    )


class Operator:
    """Picks the commanded displacement of each step.

    Args:
        rng: Random numbers of this (seed, episode) alone.
        hole_pose: (4,) the hole [m, m, m, rad].
        ranges: How far away attempts start.
    """

    def __init__(
        self, rng: np.random.Generator, hole_pose: NDArray[np.float64], ranges: VariationRange
    ) -> None:
        self._rng, self._hole, self._ranges = rng, hole_pose, ranges
        self._tremor = np.zeros(4)
        self.attempts = 0
        """Attempts begun."""
        self.successes = 0
        """Attempts that seated the peg."""
        self._begin(draw_plan(rng, ranges))

    def _begin(self, plan: Plan) -> None:
        self.plan = plan
        self.phase = "approach"
        self.attempts += 1
        self._belief = self._hole[[0, 1, 3]] + self.plan.aim_error
        self._steps = 0
        self._pause = 0
        self._jam_left = self.plan.jam_steps if self.plan.jam_depth_m is not None else 0
        self._next_plan: Plan | None = None

    @property
    def start_pose(self) -> NDArray[np.float64]:
        """(4,) where this attempt starts [m, m, m, rad], robot base frame."""
        return self._hole + self.plan.start_offset

    def act(
        self, tip: NDArray[np.float64], lead: NDArray[np.float64], contact: bool
    ) -> NDArray[np.float64]:
        """The displacement (4,) [m, m, m, rad] of the next step.

        Args:
            tip: (4,) peg tip pose.
            lead: (4,) setpoint minus tip; the operator feels it as force.
            contact: Whether peg or tool touched the box during the last step.
        """
        self._steps += 1
        moves = {
            "approach": self._approach,
            "touch": self._touch,
            "search": self._search,
            "insert": self._insert,
            "seat": self._seat,
            "withdraw": self._withdraw,
        }
        action = moves[self.phase](tip, lead, contact)
        if self._pause == 0 and self.phase in ("approach", "search") and self._rng.random() < 0.008:
            self._pause = int(self._rng.integers(4, 10))
        if self._pause > 0:
            self._pause -= 1
            action = np.zeros(4)
        self._tremor = 0.9 * self._tremor + 0.436 * NOISE * self._rng.normal(0.0, 1.0, 4)
        return np.clip(action + self._tremor, -STEP_LIMIT, STEP_LIMIT)

    def _to(self, phase: str) -> None:
        self.phase, self._steps = phase, 0

    def _depth(self, tip: NDArray[np.float64]) -> float:
        return float(self._hole[2] - tip[2])

    def _toward(
        self, tip: NDArray[np.float64], x: float, y: float, z: float, yaw: float
    ) -> NDArray[np.float64]:
        error = np.array([x, y, z, 0.0]) - tip
        error[3] = wrap_angle(yaw - float(tip[3]))
        return self.plan.gain * error

    def _approach(
        self, tip: NDArray[np.float64], lead: NDArray[np.float64], contact: bool
    ) -> NDArray[np.float64]:
        x, y, yaw = self._belief
        action = self._toward(tip, x, y, self._hole[2] + HOVER_M, yaw)
        if np.linalg.norm(action[:3]) < 0.006 * self.plan.gain or contact:
            self._to("touch")
        return action

    def _touch(
        self, tip: NDArray[np.float64], lead: NDArray[np.float64], contact: bool
    ) -> NDArray[np.float64]:
        x, y, yaw = self._belief
        if contact or self._depth(tip) > 0.003:
            self._to("insert" if self._depth(tip) > 0.003 else "search")
        return self._toward(tip, x, y, self._hole[2] - 0.012, yaw)

    def _press(self, lead: NDArray[np.float64], push_n: float) -> float:
        """Vertical displacement that brings the felt push to `push_n`."""
        return 0.35 * (-push_n / float(STIFFNESS[2]) - float(lead[2]))

    def _search(
        self, tip: NDArray[np.float64], lead: NDArray[np.float64], contact: bool
    ) -> NDArray[np.float64]:
        if self._depth(tip) > 0.0025:
            self._to("insert")
        elif self._steps > self.plan.patience:
            self._to("withdraw")
        self._belief[:2] += 0.07 * (self._hole[:2] - self._belief[:2])
        self._belief[2] += 0.08 * (self._hole[3] - self._belief[2])
        angle, radius = 0.55 * self._steps, 0.0005 + 0.00008 * self._steps
        x, y = self._belief[:2] + radius * np.array([np.cos(angle), np.sin(angle)])
        action = 2 * self._toward(tip, x, y, 0.0, self._belief[2]) - 0.15 * lead
        action[2] = self._press(lead, self.plan.push_n[0])
        return action

    def _insert(
        self, tip: NDArray[np.float64], lead: NDArray[np.float64], contact: bool
    ) -> NDArray[np.float64]:
        depth = self._depth(tip)
        action = -0.4 * lead
        action[2] = self._press(lead, self.plan.push_n[1])
        action += self._toward(tip, self._hole[0], self._hole[1], tip[2], self._hole[3])
        if (
            self.plan.jam_depth_m is not None
            and depth > self.plan.jam_depth_m
            and self._jam_left > 0
        ):
            self._jam_left -= 1
            wanted = self.plan.jam_lean[[0, 1, 1, 2]]
            action = 0.5 * (wanted - lead)
            action[2] = self._press(lead, self.plan.push_n[1] * 0.6)
            if self._jam_left == 0 and self.plan.gives_up_jammed:
                self._to("withdraw")
        elif depth > SEATED_M:
            self._to("seat")
        elif self._steps > 80 or depth < -0.005:
            self._to("withdraw")
        return action

    def _seat(
        self, tip: NDArray[np.float64], lead: NDArray[np.float64], contact: bool
    ) -> NDArray[np.float64]:
        action = -0.4 * lead
        action[2] = self._press(lead, self.plan.push_n[2])
        if self._steps > 7:
            self.successes += 1
            self._to("withdraw")
        return action

    def _withdraw(
        self, tip: NDArray[np.float64], lead: NDArray[np.float64], contact: bool
    ) -> NDArray[np.float64]:
        if self._depth(tip) > -0.006:  # still in or on the box: straight up, letting go sideways
            action = -0.4 * lead
            action[2] = 0.003 + 0.06 * (tip[2] - self._hole[2] + HOLE_DEPTH_M)
            return action
        if self._next_plan is None:
            self._next_plan = draw_plan(self._rng, self._ranges)
        offset = tip - self._hole - np.array([0.0, 0.0, HOVER_M, 0.0])
        error = self._next_plan.start_offset - (tip - self._hole)
        error[3] = wrap_angle(float(error[3]))
        remaining, distance = np.linalg.norm(error[:3]), float(np.linalg.norm(offset[:3]))
        if remaining < 0.012:
            self._begin(self._next_plan)
        # Careful beside the box, quicker when clear: speed grows with the distance.
        speed = min(0.003 + 1.3 * self.plan.gain * distance, 0.8 * float(remaining))
        action = error * (speed / max(float(remaining), 1e-6))
        action[3] = 0.1 * error[3]
        return action
