"""RVL: the lossless packing of 16-bit depth that compressed_depth_image_transport offers.

Wilson, Fast Lossless Depth Image Compression, 2017. Width and height precede the stream, uint32
little-endian each. The stream is numbers in groups of three bits, the lowest group first, each in
a nibble whose highest bit says that another follows. Eight nibbles fill a little-endian word from
its highest bits down. Pixels come in runs: how many are zero, how many are not, then of each of
these its difference to the one before it that is not zero, as 2 |d|, less 1 where d is negative.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from smvae_core.messages.base import ConversionError
from smvae_core.messages.image_file import MAX_PIXELS

SIZE = struct.Struct("<II")
#: A number of 32 bits has so many groups.
_MOST_GROUPS = 11
_SHIFTS = np.arange(28, -1, -4, dtype=np.uint32)


def decode(name: str, data: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the pixels (H, W); bytes behind them are ignored.

    Args:
        name: Modality, for the error.
        data: (N,) bytes: width, height and stream.

    Raises:
        ConversionError: 'decode' if the stream is cut short or damaged, 'size' if the image has no
            pixels or too many.
    """
    if data.size < SIZE.size:
        raise _broken(name, f"{data.size} bytes")
    width, height = SIZE.unpack(data[: SIZE.size].tobytes())
    if not 0 < width * height <= MAX_PIXELS:
        expected = f"1 to {MAX_PIXELS} pixels"
        raise ConversionError(name, "size", expected=expected, got=f"{width} x {height}")
    values = _numbers(data[SIZE.size :])
    places, numbers = _runs(name, values, width * height)
    differences = values[numbers]
    differences = (differences >> 1) ^ -(differences & 1)
    pixels = np.zeros(width * height, np.uint16)
    pixels[places] = np.cumsum(differences).astype(np.uint16)  # as the writer's: modulo 2^16
    return pixels.reshape(height, width)


def _numbers(stream: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the numbers of a stream; one that is no number of 32 bits becomes -1."""
    words = np.frombuffer(stream[: stream.size // 4 * 4].tobytes(), "<u4")
    nibbles = ((words[:, None] >> _SHIFTS) & 15).astype(np.int64).reshape(-1)
    ends = np.flatnonzero(nibbles < 8)
    if not ends.size:
        return np.zeros(0, np.int64)
    nibbles = nibbles[: ends[-1] + 1]
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends + 1 - starts
    group = np.minimum(np.arange(nibbles.size) - np.repeat(starts, lengths), _MOST_GROUPS)
    numbers = np.add.reduceat((nibbles & 7) << (3 * group), starts)
    return np.where((lengths <= _MOST_GROUPS) & (numbers < 2**32), numbers, -1)


def _runs(
    name: str, values: NDArray[np.int64], pixels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return of each pixel that is not zero its place in the image and in the numbers."""
    told = values.tolist()
    at = done = 0
    runs: list[tuple[int, int, int]] = []
    while done < pixels:
        zeros, others = told[at : at + 2] if at + 2 <= len(told) else (-1, -1)
        at, done = at + 2, done + zeros
        if min(zeros, others) < 0 or not zeros + others or at + others > len(told):
            raise _broken(name, f"a stream that ends or breaks off after {done} of {pixels} pixels")
        runs.append((done, at, others))
        at, done = at + others, done + others
    if done > pixels or (values[:at] < 0).any():
        raise _broken(name, f"a stream of {done} pixels for {pixels}")
    first, number, count = np.array(runs, np.int64).T
    ahead = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + ahead, np.repeat(number, count) + ahead


def _broken(name: str, got: str) -> ConversionError:
    return ConversionError(name, "decode", expected="a whole RVL image", got=got)
