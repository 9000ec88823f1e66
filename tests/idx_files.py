"""Files of MNIST in the idx format, for tests."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray


def write_idx(array: NDArray[np.uint8]) -> bytes:
    """Return a uint8 array of any rank as the content of an idx file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, np.uint8).tobytes()
