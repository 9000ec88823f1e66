"""Blending an operator's command with what a latent says: the formula, without ROS.

With offset = peg tip minus hole centre and contact from the readout of the fused subset:

    s = sqrt((std_x^2 + std_y^2) / 2)                      how unsure the readout is [m]
    w = max_weight * clip((uncertain_m - s) / (uncertain_m - certain_m), 0, 1)
    v = (1 - contact) * free_speed + contact * contact_speed
    a = -gain * (offset_x, offset_y), no faster than min(v, |operator's linear velocity|)
    command_xy = (1 - w) * operator_xy + w * a             z and all turns stay the operator's

Then speeds are limited and the change since the last command is. The assistance steers sideways
only, never faster than the operator moves: an operator who holds still keeps the robot still.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError
from smvae_core.readout import Estimate as Readings

Twist = NDArray[np.float64]
"""(6,) linear x, y, z [m/s], then angular x, y, z [rad/s], in the robot's base frame."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a latent says of the task: the readout's targets `offset` and `contact`."""

    offset_m: NDArray[np.float64]
    """(3,) peg tip minus hole centre, robot base frame [m]."""
    std_m: NDArray[np.float64]
    """(3,) its standard deviation [m]."""
    contact: float
    """Probability that the peg touches; NaN if the data could not tell."""

    @classmethod
    def of(cls, found: Mapping[str, Readings]) -> Estimate:
        """Return the estimate from a readout's targets by name.

        Raises:
            ConfigError: If there is no offset of three numbers among them.
        """
        offset, contact = found.get("offset"), found.get("contact")
        if offset is None or offset.value.shape != (3,):
            raise ConfigError(
                f"readout: a target 'offset' of 3 numbers is needed, it has {', '.join(found)}"
            )
        return cls(
            offset_m=offset.value,
            std_m=offset.std,
            contact=math.nan if contact is None else float(contact.value[0]),
        )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the assistance may do; the parameters of the node, by name."""

    max_weight: float = 0.6
    """Share of the assistance when the readout is certain, in [0, 1]."""
    certain_m: float = 0.005
    """Standard deviation of the sideways offset up to which the weight is full [m]."""
    uncertain_m: float = 0.03
    """Standard deviation from which the weight is zero [m]."""
    gain_per_s: float = 2.0
    """Speed per offset of the assistance [1/s]."""
    free_speed: float = 0.05
    """Fastest assistance while nothing touches [m/s]."""
    contact_speed: float = 0.01
    """Fastest assistance in contact [m/s]."""
    max_speed: float = 0.3
    """Fastest command, the operator's included [m/s]."""
    max_turn: float = 1.0
    """Fastest turn of a command [rad/s]."""
    max_acceleration: float = 3.0
    """Largest change of a command per second [m/s^2]; the turn's scales with max_turn."""
    weight_rise_per_s: float = 1.0
    """The weight falls at once and rises no faster than this."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} must be a positive number, got {value}")
        if self.max_weight > 1.0:
            raise ConfigError(f"max_weight must be at most 1, got {self.max_weight}")
        if self.certain_m >= self.uncertain_m:
            raise ConfigError(
                f"certain_m must be below uncertain_m, got {self.certain_m} and {self.uncertain_m}"
            )


def weight(estimate: Estimate, limits: Limits) -> float:
    """Return the assistance's share of the sideways command: w of the module's formula."""
    spread = math.sqrt(float(np.square(estimate.std_m[:2]).mean()))
    share = (limits.uncertain_m - spread) / (limits.uncertain_m - limits.certain_m)
    return limits.max_weight * min(max(share, 0.0), 1.0)


def blend(operator: Twist, estimate: Estimate, share: float, limits: Limits) -> Twist:
    """Return the blended command before limits: `share` is w of the module's formula."""
    # a readout that cannot tell contact is treated as if there were
    contact = estimate.contact if math.isfinite(estimate.contact) else 1.0
    speed = (1.0 - contact) * limits.free_speed + contact * limits.contact_speed
    wish = -limits.gain_per_s * estimate.offset_m[:2]
    assistance = _no_faster(wish, min(speed, float(np.linalg.norm(operator[:3]))))
    command = operator.copy()
    command[:2] = (1.0 - share) * operator[:2] + share * assistance
    return command


def limited(command: Twist, last: Twist, elapsed_s: float, limits: Limits) -> Twist:
    """Return the command within the speed limits, and near enough to the last one sent.

    Zero, at once, if it is not finite: no robot gets such a number, and no later command grows
    from it.
    """
    if not np.isfinite(command).all():
        return np.zeros(6)
    wanted = _within(command, limits.max_speed, limits.max_turn)
    step = limits.max_acceleration * elapsed_s
    turn = step * limits.max_turn / limits.max_speed
    return np.asarray(last + _within(wanted - last, step, turn))


def _within(twist: Twist, speed: float, turn: float) -> Twist:
    return np.concatenate([_no_faster(twist[:3], speed), _no_faster(twist[3:], turn)])


def _no_faster(vector: Twist, speed: float) -> Twist:
    """Return the vector, shortened to a length of at most `speed`."""
    length = float(np.linalg.norm(vector))
    return vector if length <= speed else np.asarray(vector * (speed / length))
