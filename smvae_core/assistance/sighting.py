"""Where the estimates of one moment put the hole.

A latent tells the hole's pose in the base frame (target `hole`), the way from hole to tip (target
`offset`), or both. The tip is known from the joints, so either gives the hole. Both are of the same
latent and no independent witnesses: of each axis the surer one is taken.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import Pose
from smvae_core.errors import BundleError, ConfigError
from smvae_core.readout import Estimate

#: Targets by which a latent tells the hole, and how many numbers each has.
TARGETS = {"offset": 3, "hole": 5}


def require_hole(bundle: Path, told: Collection[str]) -> None:
    """Refuse a bundle whose targets say nothing of the hole.

    Args:
        bundle: Where it lies, for the error.
        told: Names of its targets.

    Raises:
        BundleError: If neither of `TARGETS` is among them.
    """
    if TARGETS.keys().isdisjoint(told):
        needed = " or ".join(map(repr, TARGETS))
        tells = f"tells {', '.join(sorted(told))}, and not" if told else "does not tell"
        raise BundleError(bundle, f"{tells} where the hole is: a target {needed} is needed")


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Where the hole is said to be."""

    pose: Pose
    """Of the hole's centre in the surface; an axis of infinite deviation means nothing."""
    std: NDArray[np.float64]
    """(4,) standard deviations [m, m, m, rad], infinite where nothing is known."""
    remembered: bool = False
    """Whether it rests on a sensor that is gone and remembered."""


def sighting(found: Mapping[str, Estimate], tip: Pose, *, remembered: bool = False) -> Sighting:
    """Return where the estimates put the hole.

    Args:
        found: By target: `offset` (tip minus hole: x, y, z [m]), `hole` (x, y, z [m], sine and
            cosine of its yaw); others are not read. NaN where the latent could not tell.
        tip: The tip's pose at the moment of the estimates.
        remembered: Whether they rest on a sensor that is gone and remembered.

    Raises:
        ConfigError: If neither is there, or one has another size.
    """
    given = {name: found[name] for name in TARGETS if name in found}
    if not given or any(e.value.shape != (TARGETS[name],) for name, e in given.items()):
        have = ", ".join(f"{k} {e.value.shape}" for k, e in found.items()) or "none"
        raise ConfigError(
            "a target 'offset' of 3 numbers or 'hole' of 5 (x, y, z, sine and cosine of yaw) is "
            f"needed, have {have}"
        )
    pose, std = np.zeros(4), np.full(4, np.inf)
    if "offset" in given:
        pose[:3], std[:3] = _known(tip[:3] - given["offset"].value, given["offset"].std)
    if "hole" in given:
        value, deviation = given["hole"].value, given["hole"].std
        place, unsure = _known(value[:3], deviation[:3])
        surer = np.flatnonzero(unsure < std[:3])
        pose[surer], std[surer] = place[surer], unsure[surer]
        pose[3:], std[3:] = _known(*_yaw(value[3:], deviation[3:]))
    return Sighting(pose=pose, std=std, remembered=remembered)


def _yaw(
    direction: NDArray[np.float64], std: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return yaw and deviation (1,) of a sine and a cosine that need not be of length one.

    Holes that turn little have nearly the same cosine, of which a latent may tell nothing: without
    one the hole is taken to be turned by less than a right angle.
    """
    sine, cosine = direction
    if not np.isfinite(cosine) and abs(sine) < 1.0:
        yaw = math.asin(sine)
        return np.array([yaw]), np.array([std[0] / math.cos(yaw)])
    square = sine**2 + cosine**2
    if not square > 0.0:
        return np.array([np.nan]), np.array([np.nan])
    spread = np.hypot(cosine * std[0], sine * std[1]) / square
    return np.array([np.arctan2(sine, cosine)]), np.array([spread])


def _known(
    value: NDArray[np.float64], std: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values and deviations; an axis that is no number becomes 0 with an infinite one."""
    good = np.isfinite(value) & np.isfinite(std) & (std > 0.0)
    return np.where(good, value, 0.0), np.where(good, std, np.inf)
