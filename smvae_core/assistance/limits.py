"""What a command may never exceed, whatever operator or latent ask for.

The arm is a spring between its tip and a setpoint that commands move: stiffness times their
distance, the lead, is the force it pushes with. So a limit of force is one of the lead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from smvae_core.assistance.pose import Motion, Pose, no_longer
from smvae_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of every command; parameters of the node, by name."""

    max_speed: float = 0.3
    """Fastest command, the operator's included [m/s]."""
    max_turn: float = 1.0
    """Fastest turn of a command [rad/s]."""
    max_acceleration: float = 3.0
    """Largest change of a command per second [m/s^2]; the turn's scales with max_turn. Yielding to
    force is not held back by it."""
    max_force_n: float = 25.0
    """Largest force that commands let the arm push with [N]."""
    max_torque_nm: float = 6.0
    """Largest torque about the vertical likewise [N m]."""
    stiffness_n_per_m: float = 1500.0
    """Of the arm's impedance control."""
    stiffness_nm_per_rad: float = 40.0
    """Likewise, about the vertical."""
    area_low_m: tuple[float, float, float] = (0.3, -0.3, 0.0)
    """Corner of the work area with the smallest x, y and z: no setpoint leaves it [m]."""
    area_high_m: tuple[float, float, float] = (0.8, 0.3, 0.5)
    """The opposite corner [m]."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not name.startswith("area") and not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} must be a positive number, got {value}")
        low, high = np.array(self.area_low_m), np.array(self.area_high_m)
        if not (low.shape == high.shape == (3,) and (low < high).all()):
            raise ConfigError(
                "area_low_m must be below area_high_m in x, y and z, "
                f"got {list(self.area_low_m)} and {list(self.area_high_m)}"
            )


def limited(
    motion: Motion, last: Motion, tip: Pose, lead: Pose, elapsed_s: float, limits: Limits
) -> Motion:
    """Return the motion within all limits.

    Zero, at once, if it is not finite: no robot gets such a number. A robot that pushes harder than
    allowed, or whose setpoint is outside the area, may only come back.

    Args:
        motion: What is wanted.
        last: The motion commanded before.
        tip: Where the tip is.
        lead: Setpoint minus tip.
        elapsed_s: How long the motion will be executed, and the last one was.
        limits: The limits.
    """
    if not np.isfinite(motion).all():
        return np.zeros(4)
    step = limits.max_acceleration * elapsed_s
    turn = step * limits.max_turn / limits.max_speed
    change = _within(motion, limits.max_speed, limits.max_turn) - last
    wanted = last + _within(change, step, turn)
    goal = lead + wanted * elapsed_s  # the lead if nothing else moved
    setpoint = (tip + lead)[:3]
    low = np.minimum(limits.area_low_m, setpoint)
    high = np.maximum(limits.area_high_m, setpoint)
    goal[:3] = np.clip(tip[:3] + goal[:3], low, high) - tip[:3]
    goal = _within(
        goal,
        limits.max_force_n / limits.stiffness_n_per_m,
        limits.max_torque_nm / limits.stiffness_nm_per_rad,
    )
    return _within((goal - lead) / elapsed_s, limits.max_speed, limits.max_turn)


def _within(vector: Motion, straight: float, turn: float) -> Motion:
    """Return the vector (4,) with its first three no longer than one, its last than the other."""
    return np.append(no_longer(vector[:3], straight), np.clip(vector[3], -turn, turn))
