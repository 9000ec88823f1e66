"""Poses and motions of a tool that stays upright."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray

Pose = NDArray[np.float64]
"""(4,) x, y, z [m] and yaw [rad], robot base frame."""
Motion = NDArray[np.float64]
"""(4,) velocities along x, y, z [m/s] and about z [rad/s], robot base frame."""


def wrap_angle(angle_rad: float) -> float:
    """The same angle in (-pi, pi]."""
    return pi - (pi - angle_rad) % (2 * pi)


def difference(a: Pose, b: Pose) -> Pose:
    """Return a - b (4,), the yaw the short way round."""
    found = a - b
    found[3] = wrap_angle(float(found[3]))
    return found


def no_longer(vector: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Return the vector, shortened to a length of at most `length`."""
    own = float(np.linalg.norm(vector))
    return vector if own <= length else np.asarray(vector * (length / own))
