"""What is true of the door; a robot does not know it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class DoorState:
    """Where the door and its handle are now."""

    handle: NDArray[np.float64]
    """(3,) where the handle is to be held, in the robot's base frame [m]."""
    turn_rad: float
    """How far the door is turned about the vertical, its opening included."""
    latch_rad: float
    """How far the handle is pressed down."""
    hinge_rad: float
    """How far the door is open."""
