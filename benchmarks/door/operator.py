"""An operator who opens the door, with a wrong idea of where its handle is.

In front of where they believe the handle is, on towards the door, close the gripper, press the
handle down, pull. They see how far away the door is, and whether handle and door move; aside they
are wrong. On goes who is near enough, or whom the robot lets no nearer. The
handle goes down on an arc, and the gripper turns with it.

Poses are in the approach frame of `assistance`: along the door, down, and from the door on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import Motion, no_longer

#: The way to the door begins this far in front of the handle, and ends here [m].
HOVER_M, HELD_M = 0.09, 0.0
#: Near enough to the place in front of the believed handle [m].
ARRIVED_M = 0.005
#: Near enough if the robot stands there: it moved less than this in such a time.
CLOSE_M, STANDING_M, STANDING_S = 0.12, 0.003, 0.5
#: How long the gripper takes to close [s].
CLOSING_S = 0.8
#: A handle turned so far lets the door go [rad]; who sees no turn pulls after so long [s].
TURNED_RAD, TURNING_S = 1.35, 4.0
#: Who is so far from the handle has lost it [m]; who pulls a door for so long gives up [s].
LOST_M, PULLING_S = 0.1, 6.0
#: So far ahead of the handle the gripper is turned [rad].
AHEAD_RAD = 0.1
#: Time over which a tremor is correlated [s].
TREMOR_S = 0.3


@dataclass(frozen=True, kw_only=True)
class OperatorKind:
    """How well an operator does."""

    aim_m: tuple[float, float] = (0.03, 0.07)
    """The believed handle is off by a distance drawn uniformly from here, in any direction across
    the approach [m]."""
    gain_per_s: float = 1.5
    """Speed per distance."""
    speed: float = 0.12
    """Fastest motion [m/s]."""
    advance: float = 0.05
    """On towards the door [m/s]."""
    turning: float = 0.12
    """Down with the handle [m/s]."""
    pulling: float = 0.08
    """Back with the door [m/s]."""
    tremor: float = 0.01
    """Standard deviation of the hand's tremor along each axis [m/s]."""


class DoorOperator:
    """One attempt, with one wrong idea of where the handle is."""

    def __init__(self, rng: np.random.Generator, kind: OperatorKind, step_s: float) -> None:
        """Draw what is wrong about the operator's idea.

        Args:
            rng: Random numbers of this attempt alone.
            kind: How well the operator does.
            step_s: Time between commands.
        """
        self._rng, self._kind, self._step_s = rng, kind, step_s
        direction, distance = rng.uniform(-np.pi, np.pi), rng.uniform(*kind.aim_m)
        self.aim_error: NDArray[np.float64] = distance * np.array(
            [np.cos(direction), np.sin(direction), 0.0]
        )
        """(3,) where the handle is believed minus where it is [m]."""
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=1 + round(STANDING_S / step_s))
        self._tremor = np.zeros(3)
        self._since_s = 0.0
        self.phase = "approach"
        """approach, advance, close, turn, pull or over."""

    @property
    def holds(self) -> bool:
        """Whether the gripper is to be closed."""
        return self.phase in ("close", "turn", "pull", "over")

    def command(self, offset: NDArray[np.float64], latch_rad: float) -> Motion:
        """Return the motion (4,) of the next step [m/s, m/s, m/s, rad/s].

        Args:
            offset: (4,) gripper minus handle in the approach frame [m], the gripper's turn [rad].
            latch_rad: How far the handle is pressed down.
        """
        self._since_s += self._step_s
        error, turned = offset[:3] - self.aim_error, float(offset[3])
        self._recent.append(error)
        self._change_phase(error, latch_rad)
        kind, motion, turn = self._kind, np.zeros(3), 0.0
        if self.phase in ("approach", "advance"):
            motion = -kind.gain_per_s * (error - [0.0, 0.0, HOVER_M])
            if self.phase == "advance":
                motion[2] = -kind.advance
            motion = no_longer(motion, kind.speed)
        elif self.phase == "turn":
            motion[:2] = kind.turning * np.array([np.sin(latch_rad), np.cos(latch_rad)])
            turn = kind.gain_per_s * (-latch_rad - AHEAD_RAD - turned)
        elif self.phase == "pull":
            motion[2] = kind.pulling
        return np.append(motion + self._shaken(), turn)

    def _change_phase(self, error: NDArray[np.float64], latch_rad: float) -> None:
        aside = float(np.linalg.norm(error[:2]))
        near = aside < ARRIVED_M + 2.0 * self._kind.tremor * TREMOR_S
        following = {
            "approach": ("advance", (near or self._stands) and aside < CLOSE_M),
            "advance": ("close", error[2] < HELD_M or self._stands),
            "close": ("turn", self._since_s > CLOSING_S),
            "turn": ("pull", latch_rad > TURNED_RAD or self._since_s > TURNING_S),
            "pull": ("over", error[2] > LOST_M or self._since_s > PULLING_S),
            "over": ("over", False),
        }
        phase, ends = following[self.phase]
        if ends:
            self.phase, self._since_s = phase, 0.0
            self._recent.clear()

    @property
    def _stands(self) -> bool:
        moved = np.abs(self._recent[-1] - self._recent[0]).max()
        within = STANDING_M + 2.0 * self._kind.tremor * TREMOR_S
        return len(self._recent) == self._recent.maxlen and bool(moved < within)

    def _shaken(self) -> NDArray[np.float64]:
        """Return the tremor of the hand (3,) in this step, a random walk that is drawn back."""
        keep = np.exp(-self._step_s / TREMOR_S)
        fresh = np.sqrt(1.0 - keep**2) * self._kind.tremor * self._rng.standard_normal(3)
        self._tremor = keep * self._tremor + fresh
        return self._tremor
