"""Depth in metres as colours, on fixed limits: viewers scale a float image each in its own way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Near to far: yellow, green, blue, dark violet (nine points of viridis, reversed).
_ANCHORS = (
    (253, 231, 37),
    (170, 220, 50),
    (94, 201, 98),
    (39, 173, 129),
    (33, 145, 140),
    (44, 114, 142),
    (59, 82, 139),
    (71, 44, 122),
    (68, 1, 84),
)
_SHADES = 256


def _table() -> NDArray[np.uint8]:
    """Return the colours (256 + 1, 3); the last one is black, for no return."""
    at = np.linspace(0.0, 1.0, len(_ANCHORS))
    shades = np.linspace(0.0, 1.0, _SHADES)
    colors = np.stack([np.interp(shades, at, channel) for channel in zip(*_ANCHORS, strict=True)])
    return np.vstack([np.rint(colors.T), np.zeros(3)]).astype(np.uint8)


_COLORS = _table()


def limits_m(
    shown_m: tuple[float, float], near_m: float = 0.0, far_m: float = 0.0
) -> tuple[float, float]:
    """Return the depths [m] of the first and the last colour.

    Args:
        shown_m: Range that the model knows, see `Kind.shown_range`.
        near_m: From parameters.
        far_m: From parameters; 0 = both ends of that range.
    """
    return (near_m, far_m) if far_m > 0.0 else shown_m


def colored(depth_m: NDArray[np.float32], near_m: float, far_m: float) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of a depth image (H, W) [m].

    Depth beyond a limit gets that limit's colour; zero, NaN and infinities are no return: black.
    """
    returned = np.isfinite(depth_m) & (depth_m > 0.0)
    share = (np.where(returned, depth_m, near_m) - near_m) / (far_m - near_m)
    index = np.rint(np.clip(share, 0.0, 1.0) * (_SHADES - 1)).astype(np.intp)
    index[~returned] = _SHADES
    return _COLORS[index]
