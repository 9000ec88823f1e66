"""Following contact: pushing with a stated force, letting go sideways, and what is seated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from smvae_core.assistance.pose import Motion, Pose
from smvae_core.errors import ConfigError

#: Share of a missing push, and of a sideways lead, that a second makes up for [1/s].
PUSH_PER_S, YIELD_PER_S = 7.0, 8.0
#: Fastest way down while pushing [m/s]: the floor is hit with it.
DOWN_SPEED = 0.04


@dataclass(frozen=True, kw_only=True)
class Insertion:
    """How the peg is pushed; parameters of the node, by name."""

    search_push_n: float = 6.0
    """Push on the surface while searching [N]."""
    insert_push_n: float = 12.0
    """Push in the hole [N]."""
    entered_m: float = 0.0025
    """The tip is in the hole when so far below the surface [m]."""
    seated_m: float = 0.03
    """The peg is seated when its tip is so far below the surface [m]."""
    back_off_m: float = 0.002
    """How far a jammed peg is drawn back [m]."""
    back_offs: float = 6.0
    """A peg that jammed more often is handed over to the operator."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} must be a positive number, got {value}")


def push(lead: Pose, force_n: float, stiffness_n_per_m: float) -> float:
    """Return the speed along z [m/s] that brings the push downwards to a force."""
    speed = PUSH_PER_S * (-force_n / stiffness_n_per_m - float(lead[2]))
    return max(speed, -DOWN_SPEED)


def yielding(lead: Pose) -> Motion:
    """Return the motion (4,) that lets go of x, y and yaw: walls and edges then lead the peg."""
    return np.append(-YIELD_PER_S * lead[:2], (0.0, -YIELD_PER_S * lead[3]))
