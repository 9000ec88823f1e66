"""Images as bytes and back, without loss: a filter that suits the numbers, then Zstandard.

As small as PNG at a fifth of its time, see `docs/decisions/episodes_storage.md`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import MissingDependency

_LEVEL = 1


class Coding(IntEnum):
    """How the bytes of an image were made; the numbers stand in files."""

    LEVELS = 0
    """uint8, each pixel minus its left neighbour."""
    UNITS = 1
    """uint16: depth in units of `unit_m`."""
    FLOATS = 2
    """float32, the first bytes of all numbers, then the second ones, and so on."""


class Coded(NamedTuple):
    """One image."""

    data: bytes
    shape: tuple[int, ...]
    coding: Coding


def encode(image: NDArray[Any], unit_m: float = 0.001) -> Coded:
    """Return an image (H, W) or (H, W, C) as bytes.

    Args:
        image: uint8, or float32 in metres.
        unit_m: Depth that is a whole number of these is kept as such.
    """
    if image.dtype == np.uint8:
        left = image.copy()
        left[:, 1:] -= image[:, :-1]
        return Coded(_pack(left), image.shape, Coding.LEVELS)
    assert image.dtype == np.float32, image.dtype
    with np.errstate(invalid="ignore", over="ignore"):
        units = np.rint(image / np.float32(unit_m)).astype(np.uint16)
    if np.array_equal(units.astype(np.float32) * np.float32(unit_m), image):
        return Coded(_pack(units), image.shape, Coding.UNITS)
    planes = np.ascontiguousarray(image).view(np.uint8).reshape(-1, 4).T
    return Coded(_pack(planes), image.shape, Coding.FLOATS)


def decode(coded: Coded, unit_m: float = 0.001) -> NDArray[Any]:
    """Return the image; see `encode`.

    Raises:
        ValueError: If the bytes are damaged.
    """
    data, shape = _unpack(coded.data), coded.shape
    if coded.coding == Coding.LEVELS:
        left = np.frombuffer(data, np.uint8).reshape(shape)
        return np.cumsum(left, axis=1, dtype=np.uint8)
    if coded.coding == Coding.UNITS:
        units = np.frombuffer(data, np.uint16).reshape(shape)
        return units.astype(np.float32) * np.float32(unit_m)
    planes = np.frombuffer(data, np.uint8).reshape(4, -1)
    return np.ascontiguousarray(planes.T).view(np.float32).reshape(shape)


def _pack(array: NDArray[Any]) -> bytes:
    packed: bytes = _zstandard().ZstdCompressor(_LEVEL).compress(np.ascontiguousarray(array).data)
    return packed


def _unpack(data: bytes) -> bytes:
    zstandard = _zstandard()
    try:
        unpacked: bytes = zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as err:
        raise ValueError(f"an image is damaged: {err}") from err
    return unpacked


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as err:
        raise MissingDependency("zstandard", "bags") from err
    return zstandard
