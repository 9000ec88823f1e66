"""What is believed of the hole, from all that was seen of it.

The hole stands still, so what was seen before stays true: a lost camera leaves the belief. But the
estimates of neighbouring moments share their errors. One counts as much as the time since the one
before is of `independent_s`, and all together as `max_count` at most: then older ones fade, and the
belief never claims more than 1/sqrt(max_count) of one estimate's deviation.

An estimate that contradicts the belief counts less, by the weight of Student's t distribution with
nu degrees of freedom (Lange et al. 1989), w = min(1, (nu + n) / (nu + d^2)), d^2 the squared
distance over n axes in deviations of both. A frozen camera's estimates move with the robot and
count less and less.

What rests on a remembered sensor may tell once more what that sensor told before, a little worse.
How much of it the other sensors told anew cannot be seen from it, but where they told enough it is
no worse than what was seen before. So it is taken in only where it is nearly as sure as a mean
estimate that the belief rests on, whose deviation is sqrt(count) times the belief's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import Pose, difference, wrap_angle
from smvae_core.assistance.sighting import Sighting
from smvae_core.errors import ConfigError

#: Degrees of freedom of the weight of contradicting estimates.
NU = 4.0
#: An estimate that rests on a remembered sensor may be so many times less sure than those before.
LESS_SURE = 1.25


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How estimates of successive moments become one belief; parameters of the node, by name."""

    independent_s: float = 0.5
    """Estimates this far apart count as independent [s]."""
    max_count: float = 2.0
    """All estimates together count as this many independent ones."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} must be a positive number, got {value}")


class HoleBelief:
    """A Gaussian over the hole's pose, of independent axes."""

    def __init__(self, fusion: Fusion) -> None:
        """Know nothing."""
        self._fusion = fusion
        self.forget()

    def forget(self) -> None:
        """Know nothing."""
        self._mean, self._precision, self._count = np.zeros(4), np.zeros(4), 0.0
        self.agreement = 1.0
        """Running mean of how far estimates agreed with the belief, 1 = all did."""

    @property
    def pose(self) -> Pose:
        """(4,) the hole's most likely pose; an axis of infinite deviation means nothing."""
        return self._mean.copy()

    @property
    def std(self) -> NDArray[np.float64]:
        """(4,) standard deviations [m, m, m, rad], infinite where nothing is known."""
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / np.sqrt(self._precision))

    def add(self, seen: Sighting, elapsed_s: float) -> None:
        """Take in what was seen, so long after what was taken in before."""
        if seen.remembered and not self._renewed_by(seen):
            return
        share = min(max(elapsed_s, 0.0) / self._fusion.independent_s, 1.0)
        agreement = self._agreement(seen)
        self.agreement += share * (agreement - self.agreement)
        self._fuse(seen, share * agreement)

    def add_independent(self, seen: Sighting) -> None:
        """Take in what somebody else knows, such as where an operator puts the peg down."""
        self._fuse(seen, 1.0)

    def _fuse(self, seen: Sighting, count: float) -> None:
        added = count / np.square(seen.std)
        total = self._precision + added
        known = total > 0.0
        change = difference(seen.pose, self._mean)
        self._mean[known] += (added * change)[known] / total[known]
        self._mean[3] = wrap_angle(float(self._mean[3]))
        self._precision, self._count = total, self._count + count
        if (limit := self._fusion.max_count) < self._count:
            self._precision *= limit / self._count
            self._count = limit

    def _renewed_by(self, seen: Sighting) -> bool:
        """Return whether it is nearly as sure of every axis as a mean estimate of the belief."""
        told = LESS_SURE**2 * self._count / np.square(seen.std)
        return bool((told >= self._precision).all())

    def _agreement(self, seen: Sighting) -> float:
        """Return the weight of what was seen, of Student's t, at most 1."""
        both = np.square(seen.std) + np.square(self.std)
        known = np.isfinite(both)
        if not known.any():
            return 1.0
        squares = np.square(difference(seen.pose, self._mean))[known] / both[known]
        return min((NU + int(known.sum())) / (NU + float(squares.sum())), 1.0)
