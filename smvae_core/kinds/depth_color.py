"""Depth in metres as colours, on fixed limits: viewers scale a float image each in its own way."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


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
    """Return (H, W, 3) uint8 RGB of a depth image (H, W) [m]: near is yellow, far dark violet.

    Depth beyond a limit gets that limit's colour; zero, NaN and infinities are no return: black.
    """
    returned = np.isfinite(depth_m) & (depth_m > 0.0)
    share = (np.where(returned, depth_m, near_m) - near_m) / (far_m - near_m)
    nearness = np.rint((1.0 - np.clip(share, 0.0, 1.0)) * 255.0).astype(np.uint8)
    bgr = cv2.applyColorMap(nearness, cv2.COLORMAP_VIRIDIS)
    image: NDArray[np.uint8] = np.ascontiguousarray(bgr[..., ::-1], np.uint8)
    image[~returned] = 0
    return image
