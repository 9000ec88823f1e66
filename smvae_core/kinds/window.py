"""The force window: the last 32 ms, at one reading per millisecond, whatever rate arrives."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SampleError

#: Grid of the window [ns]: the training data hold one reading per millisecond.
WINDOW_PERIOD_NS = 1_000_000


def resample_window(
    stamps_ns: NDArray[np.int64],
    readings: NDArray[np.floating[Any]],
    end_ns: int,
    *,
    length: int = 32,
    period_ns: int = WINDOW_PERIOD_NS,
    min_samples: int = 2,
    name: str = "force",
) -> NDArray[np.float32]:
    """Return `length` readings, one per millisecond, ending at the newest one up to `end_ns`.

    Linear interpolation between the neighbours of each grid point, at whatever rate readings
    arrive. Nothing is extrapolated: the window ends at a real reading and starts at or after one.

    Args:
        stamps_ns: (N,) strictly increasing.
        readings: (N, C), SI units.
        end_ns: Reference time.
        length: Rows of the window.
        period_ns: Time between rows.
        min_samples: Readings that must lie inside the window.
        name: Modality, for the error.

    Returns:
        (length, C) float32, oldest first.

    Raises:
        SampleError: If the window is not covered or holds fewer than `min_samples` readings; its
            `reason` says so in words for a status.
    """
    span_ns = (length - 1) * period_ns
    last = len(stamps_ns)
    if last and stamps_ns[-1] > end_ns:
        last = int(np.searchsorted(stamps_ns, end_ns, side="right"))
    if last == 0:
        raise SampleError(name, "window", expected="a reading before the reference", got="none")
    newest = int(stamps_ns[last - 1])
    start = newest - span_ns
    first = int(np.searchsorted(stamps_ns[:last], start, side="right")) - 1
    if first < 0:
        covered = (newest - int(stamps_ns[0])) / 1e6
        expected, got = f"{span_ns / 1e6:g} ms of readings", f"{covered:.1f} ms"
        reason = f"{got} of readings so far, the window is of {span_ns / 1e6:g} ms"
        raise SampleError(name, "window", expected=expected, got=got, reason=reason)
    inside = last - first - int(stamps_ns[first] < start)
    if inside < min_samples:
        reason = (
            f"{inside} reading{'s' * (inside != 1)} in the window, {min_samples} needed: a higher "
            "rate, a longer window_ms, or a smaller min_samples"
        )
        expected = f"at least {min_samples} readings"
        raise SampleError(name, "window", expected=expected, got=inside, reason=reason)
    seconds = (stamps_ns[first:last] - newest) * 1e-9
    grid = _grid(length, period_ns)
    return _interpolated(grid, seconds, np.asarray(readings[first:last], np.float64))


@lru_cache
def _grid(length: int, period_ns: int) -> NDArray[Any]:
    """Return the times of the rows of a window, 0 the last of them [s]."""
    return np.arange(-(length - 1), 1) * (period_ns * 1e-9)


def _interpolated(
    grid: NDArray[Any], seconds: NDArray[Any], readings: NDArray[Any]
) -> NDArray[np.float32]:
    """Return readings (N, C) at other times (T,) on straight lines between them, (T, C).

    Two channels at a time, as one of complex numbers, which takes as long as one.
    """
    channels = readings.shape[1]
    if channels % 2:
        readings = np.pad(readings, ((0, 0), (0, 1)))
    pairs = np.ascontiguousarray(readings).view(np.complex128)
    found = np.empty((len(grid), pairs.shape[1]), np.complex128)
    for pair in range(pairs.shape[1]):
        found[:, pair] = np.interp(grid, seconds, pairs[:, pair])
    return found.view(np.float64)[:, :channels].astype(np.float32)
