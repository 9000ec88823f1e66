"""The way of a search around the believed hole: an outward spiral, while the yaw swings.

Square and triangle enter only near the right place *and* the right yaw. So the spiral goes on by no
more than `cell_m` while the yaw swings once from side to side: slowly where the yaw is unknown,
quickly where it is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Search:
    """How the hole is searched by touch; parameters of the node, by name."""

    pitch_m: float = 0.0012
    """Distance between turns of the spiral [m]; below the clearance on both sides of the peg."""
    cell_m: float = 0.0015
    """How far the spiral goes on during one swing of the yaw [m]."""
    contact_speed: float = 0.012
    """Fastest way along the spiral [m/s]."""
    swing_per_s: float = 0.8
    """Speed of the swing [rad/s]."""
    deviations: float = 2.0
    """Spiral and swing reach so many standard deviations of the belief."""
    least_m: float = 0.0025
    """Smallest reach of the spiral [m]."""
    least_rad: float = 0.05
    """Smallest reach of the swing [rad]."""
    most_rad: float = 0.25
    """Largest reach of the swing [rad]."""
    give_up_m: float = 0.012
    """A belief less sure than this is not searched for [m]."""
    search_s: float = 15.0
    """A search that found nothing for so long is given up [s]."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} must be a positive number, got {value}")
        if self.least_rad > self.most_rad:
            raise ConfigError(
                f"least_rad must be at most most_rad, got {self.least_rad} and {self.most_rad}"
            )


class Spiral:
    """Where to be, beside the believed hole, as a search goes on."""

    def __init__(self, search: Search, std_m: float, std_rad: float) -> None:
        """Begin in the middle.

        Args:
            search: How to search.
            std_m: Sideways standard deviation of the belief [m].
            std_rad: Of its yaw; may be infinite.
        """
        self._search = search
        self._reach_m = max(search.deviations * std_m, search.least_m)
        swing = search.deviations * std_rad
        self._swing_rad = min(max(swing, search.least_rad), search.most_rad)
        per_swing = search.cell_m * search.swing_per_s / (2.0 * self._swing_rad)
        self._speed = min(search.contact_speed, per_swing)
        self._angle = self._time_s = 0.0
        self.place = np.zeros(4)
        """Where to be now: x, y [m], 0 and yaw [rad] from the middle."""

    def advance(self, elapsed_s: float) -> NDArray[np.float64]:
        """Go on for so long; return the new `place`.

        Out at its reach it begins again in the middle.
        """
        self._time_s += elapsed_s
        growth = self._search.pitch_m / (2.0 * math.pi)
        radius = growth * self._angle
        self._angle += elapsed_s * self._speed / math.hypot(radius, growth)
        radius = growth * self._angle
        if radius > self._reach_m:
            self._angle = radius = 0.0
        # a triangle wave that begins at 0 and rises
        phase = self._time_s * self._search.swing_per_s / self._swing_rad
        swing = self._swing_rad * (abs((phase + 3.0) % 4.0 - 2.0) - 1.0)
        sideways = radius * math.cos(self._angle), radius * math.sin(self._angle)
        self.place = np.array([*sideways, 0.0, swing])
        return self.place
