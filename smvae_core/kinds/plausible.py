"""What looks wrong with plain numbers, by their SI unit: zeros of a silent driver, another unit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from smvae_core.kinds.base import beyond

#: Unit -> largest number that a robot gives; of an angle two turns to each side.
LIMITS = {
    "rad": 4 * np.pi,
    "rad/s": 100.0,
    "m/s": 100.0,
    "m/s^2": 1000.0,
    "N": 10_000.0,
    "N m": 10_000.0,
}
#: A rotation's quaternion has norm 1, within what float32 and careless drivers leave.
_NORM = 0.05

Group = tuple[str, str, NDArray[np.float32]]
"""Name, unit, and the numbers of one sample."""


def odd_numbers(groups: Iterable[Group]) -> str:
    """Return '' or what looks wrong with the numbers of a sample, as one phrase.

    A robot that stands has rates of exactly 0, and a single number (a gripper) may be 0 as well;
    several positions or forces are not.
    """
    for name, unit, values in groups:
        if unit != "1" and "/s" not in unit and len(values) > 1 and not values.any():
            return f"every {name} is exactly 0: is the driver sending it?"
        if unit in LIMITS and (odd := beyond(values, LIMITS[unit], unit)):
            return f"{name} {odd}"
    return ""


def odd_rotation(name: str, quaternion: NDArray[np.float32]) -> str:
    """Return '' or why four numbers x, y, z, w are no rotation."""
    norm = float(np.linalg.norm(quaternion))
    return "" if abs(norm - 1.0) < _NORM else f"{name} has norm {norm:.3g}, a rotation has 1"
