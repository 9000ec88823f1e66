"""Means with standard errors, plain and paired, in the form that JSON holds.

N items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Values = NDArray[np.float64]


def plain(value: float) -> float | None:
    """Return a Python float; None where it is not finite, which JSON cannot hold."""
    return float(value) if math.isfinite(value) else None


def standard_error(values: Sequence[float] | Values) -> float:
    """Return the standard error of the mean, NaN for fewer than two values."""
    array = np.asarray(values, np.float64)
    return float(array.std(ddof=1)) / math.sqrt(len(array)) if len(array) > 1 else math.nan


def reach(count: int) -> float:
    """Return how many standard errors a mean's 95 % interval reaches, by Student's t.

    12.7 for the mean of two values, 2.8 of five, 2.0 of sixty; NaN of fewer than two.
    """
    return float(student.ppf(0.975, count - 1)) if count > 1 else math.nan


def median_and_least(values: Values) -> dict[str, float | None]:
    """Return {'median': .., 'min': ..}, as effective sample sizes are told."""
    return {"median": plain(np.median(values)), "min": plain(values.min())}


def mean_and_error(
    values: Values, groups: NDArray[np.integer] | None = None
) -> dict[str, float | None]:
    """Return mean and standard error over items, {'mean': .., 'standard_error': ..}.

    Args:
        values: (N,), one per item.
        groups: (N,), e.g. the trajectory of each item. Items of one group are not independent, so
            the error is then that of a mean over groups (linearised, G / (G - 1) corrected).
    """
    count = len(values)
    if count == 0:
        return {"mean": None, "standard_error": None}
    mean = float(values.mean())
    if groups is None:
        return {"mean": plain(mean), "standard_error": plain(standard_error(values))}
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, weights=values - mean)
    number = len(sums)
    error = math.nan
    if number > 1:
        error = math.sqrt(float(np.square(sums).sum()) * number / (number - 1)) / count
    return {"mean": plain(mean), "standard_error": plain(error)}
