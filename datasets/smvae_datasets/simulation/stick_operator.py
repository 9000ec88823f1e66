"""Operators at a joystick, who have a wrong idea of where the hole is.

An attempt: above the believed hole, then the stick is held down until the peg is seated or patience
ends, then up again. Down goes who is near enough, or whom the robot lets no nearer. Unlike the
scripted operator of the episodes they never see the hole, and they command velocities, also while
they push.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import difference, no_longer
from smvae_datasets.simulation.errors import UnknownSetting

HOVER_M = 0.02
"""The way down begins this high above the surface."""
ARRIVED_M, ARRIVED_RAD = 0.003, 0.05
"""Near enough to the place above the believed hole."""
CLOSE_M, CLOSE_RAD = 0.025, 0.4
"""Near enough if the robot stands there."""
STANDING_S, STANDING_M, STANDING_RAD = 0.5, 0.002, 0.03
"""It stands if it moved less than this in such a time."""
CLEAR_M = 0.06
"""An attempt ends this high above the surface."""
TREMOR_S = 0.3
"""Time over which a tremor is correlated."""


@dataclass(frozen=True, kw_only=True)
class OperatorKind:
    """How well an operator does."""

    aim_m: tuple[float, float] = (0.005, 0.01)
    """The believed hole is off by a distance drawn uniformly from here [m], in any direction."""
    aim_rad: tuple[float, float] = (0.1, 0.2)
    """and by an angle drawn uniformly from here, to either side."""
    gain_per_s: float = 1.5
    """Speed per distance."""
    speed: float = 0.08
    """Fastest motion [m/s]."""
    turn: float = 0.5
    """Fastest turn [rad/s]."""
    descent: float = 0.02
    """Way down [m/s]."""
    late_s: float = 0.0
    """Age of what the operator reacts to."""
    tremor: float = 0.0
    """Standard deviation of the hand's tremor along each axis [m/s]."""
    tremor_turn: float = 0.0
    """Likewise about the vertical [rad/s]."""


OPERATORS: dict[str, OperatorKind] = {
    "aims_wrong": OperatorKind(),
    "noisy": OperatorKind(tremor=0.01, tremor_turn=0.1),
    "late": OperatorKind(gain_per_s=0.75, speed=0.04, turn=0.25, descent=0.01, late_s=0.3),
}
"""All aim wrong; one has a tremor besides, one is half as fast and late by 300 ms."""


def operator_kind(name: str) -> OperatorKind:
    """Return the operator called `name`.

    Raises:
        UnknownSetting: If there is no such operator.
    """
    if name not in OPERATORS:
        raise UnknownSetting("operator", name, "one of " + ", ".join(map(repr, OPERATORS)))
    return OPERATORS[name]


class StickOperator:
    """One attempt, with one wrong idea of where the hole is."""

    def __init__(
        self, rng: np.random.Generator, kind: OperatorKind, step_s: float, patience_s: float
    ) -> None:
        """Draw what is wrong about the operator's idea.

        Args:
            rng: Random numbers of this attempt alone.
            kind: How well the operator does.
            step_s: Time between commands.
            patience_s: The peg is drawn back after so long.
        """
        self._rng, self._kind, self._step_s = rng, kind, step_s
        direction = rng.uniform(-np.pi, np.pi)
        distance = rng.uniform(*kind.aim_m)
        yaw = rng.uniform(*kind.aim_rad) * rng.choice([-1.0, 1.0])
        self.aim_error: NDArray[np.float64] = np.array(
            [distance * np.cos(direction), distance * np.sin(direction), 0.0, yaw]
        )
        """(4,) where the hole is believed minus where it is [m, m, m, rad]."""
        self._seen: deque[NDArray[np.float64]] = deque(maxlen=1 + round(kind.late_s / step_s))
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=1 + round(STANDING_S / step_s))
        self._steps_left = round(patience_s / step_s)
        self._tremor = np.zeros(4)
        self._phase = "approach"
        self.over = False
        """Whether the peg was drawn back and is clear."""

    def command(self, offset: NDArray[np.float64], seated_m: float) -> NDArray[np.float64]:
        """Return the motion (4,) [m/s, m/s, m/s, rad/s] of the next step.

        Args:
            offset: (4,) tip minus hole [m, m, m, rad].
            seated_m: The peg is seated when its tip is so far below the surface.
        """
        kind = self._kind
        self._steps_left -= 1
        self._seen.append(offset)
        seen = self._seen[0]
        error = difference(seen, self.aim_error)
        if self._phase == "approach" and self._arrived(error):
            self._phase = "descend"
        if self._phase != "withdraw" and (seen[2] < -seated_m or self._steps_left < 0):
            self._phase = "withdraw"
        motion = -kind.gain_per_s * error
        if self._phase == "approach":
            motion[2] = kind.gain_per_s * (HOVER_M - seen[2])
        elif self._phase == "descend":
            motion[2] = -kind.descent
        else:
            self.over = bool(seen[2] > CLEAR_M)
            motion = np.array([0.0, 0.0, kind.speed, 0.0])
        turn = np.clip(motion[3], -kind.turn, kind.turn)
        return np.append(no_longer(motion[:3], kind.speed), turn) + self._shaken()

    def _arrived(self, error: NDArray[np.float64]) -> bool:
        """Return whether the way down begins: near, or standing close by."""
        self._recent.append(error)
        tremor_m = 2.0 * self._kind.tremor * TREMOR_S
        tremor_rad = 2.0 * self._kind.tremor_turn * TREMOR_S
        sideways, turn = float(np.linalg.norm(error[:2])), abs(float(error[3]))
        if sideways < ARRIVED_M + tremor_m and turn < ARRIVED_RAD + tremor_rad:
            return True
        moved = np.abs(difference(error, self._recent[0]))
        stands = (
            len(self._recent) == self._recent.maxlen
            and float(moved[:3].max()) < STANDING_M + tremor_m
            and float(moved[3]) < STANDING_RAD + tremor_rad
        )
        return stands and sideways < CLOSE_M and turn < CLOSE_RAD

    def _shaken(self) -> NDArray[np.float64]:
        """Return the tremor of the hand (4,) in this step, a random walk that is drawn back."""
        kind = self._kind
        keep = np.exp(-self._step_s / TREMOR_S)
        deviation = np.array([kind.tremor] * 3 + [kind.tremor_turn])
        fresh = np.sqrt(1.0 - keep**2) * deviation * self._rng.standard_normal(4)
        self._tremor = keep * self._tremor + fresh
        return self._tremor
