"""Medians over turns, and ratios of two contenders that took them in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """The median of some turns, the smallest and the largest."""

    median: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of the values of all turns."""
    return Spread(float(np.median(values)), float(min(values)), float(max(values)))


def ratio(values: Sequence[float], others: Sequence[float]) -> Spread:
    """Return the spread of values / others, turn by turn: what both met cancels.

    Raises:
        ValueError: If the turns are not as many.
    """
    return spread([a / b for a, b in zip(values, others, strict=True)])


def verdict(met: bool) -> str:
    """Return how a target came out."""
    return "met" if met else "**missed**"
