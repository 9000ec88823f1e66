"""What the operator wants, by the motion of their hand."""

from __future__ import annotations

import enum
import math

import numpy as np

from smvae_core.assistance.pose import Motion

#: Slower than this is a hand held still [m/s], [rad/s].
STILL_SPEED, STILL_TURN = 0.002, 0.02
#: Time constant of the running mean that tells pushing from pulling [s]: a tremor is neither.
SMOOTHING_S = 0.3


class Intent(enum.Enum):
    """What an operator asks of the robot."""

    STILL = "holds still"
    PUSH = "pushes down"
    PULL = "pulls up"
    STEER = "steers"


class IntentReader:
    """Tells an operator's intent; a hand held still counts at once."""

    def __init__(self) -> None:
        self._vertical = 0.0

    def read(self, operator: Motion, elapsed_s: float) -> Intent:
        """Return the intent of a motion that lasted so long."""
        speed, turn = float(np.linalg.norm(operator[:3])), abs(float(operator[3]))
        if speed < STILL_SPEED and turn < STILL_TURN:
            self._vertical = 0.0
            return Intent.STILL
        share = 1.0 - math.exp(-elapsed_s / SMOOTHING_S)
        self._vertical += share * (float(operator[2]) - self._vertical)
        if self._vertical < -STILL_SPEED:
            return Intent.PUSH
        return Intent.PULL if self._vertical > STILL_SPEED else Intent.STEER
