"""Blending the operator's motion with the way to the hole, in the air, by who knows better.

With s the deviation of the belief and o how far an operator's aim is off, both in the same unit:

    w = max_weight * near * o^2 / (o^2 + s^2)
    a = gain_per_s * (hole - tip), no faster than min(free_speed, |operator's speed|)
    command = (1 - w) * operator + w * a

once for x and y, once for yaw; z stays the operator's. o^2 / (o^2 + s^2) is the weight of a
Gaussian belief beside a Gaussian aim. `near` falls from 1 to 0 with the distance to the believed
hole: who is elsewhere does not mean this hole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from smvae_core.assistance.belief import HoleBelief
from smvae_core.assistance.pose import Motion, Pose, difference, no_longer
from smvae_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Blending:
    """How the assistance steers in the air; parameters of the node, by name."""

    max_weight: float = 1.0
    """Largest share of the assistance in a command, in (0, 1]."""
    operator_m: float = 0.008
    """Standard deviation of an operator's aim [m]."""
    operator_rad: float = 0.15
    """Likewise of its yaw [rad]."""
    near_m: float = 0.03
    """Up to this sideways distance from the believed hole the weight is full [m]."""
    far_m: float = 0.08
    """From this distance on it is zero [m]."""
    gain_per_s: float = 2.5
    """Speed of the assistance per distance [1/s]."""
    free_speed: float = 0.05
    """Fastest sideways assistance [m/s]."""
    free_turn: float = 0.5
    """Fastest turn of the assistance [rad/s]."""
    weight_rise_per_s: float = 2.0
    """The weight falls at once and rises no faster than this."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} must be a positive number, got {value}")
        if self.max_weight > 1.0:
            raise ConfigError(f"max_weight must be at most 1, got {self.max_weight}")
        if self.near_m >= self.far_m:
            raise ConfigError(f"near_m must be below far_m, got {self.near_m} and {self.far_m}")


def weights(belief: HoleBelief, tip: Pose, blending: Blending) -> tuple[float, float]:
    """Return the assistance's share sideways and in yaw: w of the module's formula."""
    std = belief.std
    spread = math.sqrt(float(np.square(std[:2]).mean()))
    if not math.isfinite(spread):
        return 0.0, 0.0
    distance = float(np.linalg.norm(belief.pose[:2] - tip[:2]))
    near = (blending.far_m - distance) / (blending.far_m - blending.near_m)
    most = blending.max_weight * min(max(near, 0.0), 1.0)
    return most * _trust(spread, blending.operator_m), most * _trust(std[3], blending.operator_rad)


def blend(
    operator: Motion, belief: HoleBelief, tip: Pose, shares: tuple[float, float], blending: Blending
) -> Motion:
    """Return the blended motion, before limits: `shares` are w of the module's formula."""
    way = blending.gain_per_s * difference(belief.pose, tip)
    speed = float(np.linalg.norm(operator[:3]))
    sideways = no_longer(way[:2], min(blending.free_speed, speed))
    turn = np.clip(way[3], -blending.free_turn, blending.free_turn)
    motion = operator.copy()
    motion[:2] = (1.0 - shares[0]) * operator[:2] + shares[0] * sideways
    motion[3] = (1.0 - shares[1]) * operator[3] + shares[1] * turn
    return motion


def _trust(std: float, aim: float) -> float:
    return aim**2 / (aim**2 + std**2) if math.isfinite(std) else 0.0
