"""compressedDepth: the format of compressed_depth_image_transport, decoded here.

Twelve bytes precede a PNG, or an image packed as `rvl`, little-endian: {int32 format, float32 A,
float32 B}. Of 16UC1 the image holds the millimetres themselves, and the twelve bytes mean nothing.
Of 32FC1 it holds inverse depth quantised to 16 bits, format 0: depth = A / (q - B), and q = 0 where
there was no return. The writer has A = z0 (z0 + 1) and B = 1 - A / furthest depth, so that q - B is
positive for every q from 1 up.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from smvae_core.messages import image_file, rvl
from smvae_core.messages.base import ConversionError

HEADER = struct.Struct("<iff")
INVERSE_DEPTH = 0
#: How compressed_depth_image_transport quantises by default: best near 1 m, nothing beyond 10 m.
DEPTH_QUANTIZATION, DEPTH_MAX_M = 100.0, 10.0


def decode(
    name: str, data: NDArray[np.uint8], encoding: str, *, is_rvl: bool = False
) -> NDArray[np.float32 | np.uint16]:
    """Return a depth image (H, W): 16UC1 as uint16 in its units, 32FC1 as float32, NaN = no return.

    Args:
        name: Modality, for the error.
        data: (N,) bytes: header and image.
        encoding: Of the depth image, '16UC1' or '32FC1'; mono16 counts as 16UC1.
        is_rvl: Whether the image is packed as RVL, not as PNG.

    Raises:
        ConversionError: 'header' if the header is cut short, missing or impossible, 'encoding' if
            a PNG is not one channel of 16 bits, else as `image_file.decode` and `rvl.decode`.
    """
    if data.size < HEADER.size:
        raise _bad_header(name, f"{data.size} bytes")
    if data[: len(image_file.PNG_START)].tobytes() == image_file.PNG_START:
        raise _bad_header(name, "a PNG without it; is the format 'png'?")
    kind, a, b = HEADER.unpack(data[: HEADER.size].tobytes())
    if encoding == "32FC1" and not (kind == INVERSE_DEPTH and 0 < a < np.inf and -np.inf < b < 1):
        raise _bad_header(name, f"format {kind}, A {a:g}, B {b:g}")
    packed = data[HEADER.size :]
    image = rvl.decode(name, packed) if is_rvl else image_file.decode(name, packed, "png")
    if image.dtype != np.uint16 or image.ndim != 2:
        got = f"{image.shape} {image.dtype}"
        raise ConversionError(name, "encoding", expected="one channel of 16 bits", got=got)
    if encoding != "32FC1":
        return image
    with np.errstate(over="ignore", divide="ignore"):
        depth = np.float32(a) / (image.astype(np.float32) - np.float32(b))
    return np.where(image > 0, depth, np.float32(np.nan)).astype(np.float32)


def _bad_header(name: str, got: str) -> ConversionError:
    expected = "12 bytes {int32 0, float32 A > 0, float32 B < 1} before the image"
    return ConversionError(name, "header", expected=expected, got=got)


def encode(metres: NDArray[np.float32]) -> bytes:
    """Return header and PNG of a depth image (H, W) in metres, as 32FC1 is sent.

    Quantised with the transport's default parameters, rounded where it cuts off: the error is at
    most depth^2 / 2A, 0.05 mm at 1 m. Beyond DEPTH_MAX_M, nearer than 16 bits reach (0.152 m) and
    not finite become no return.
    """
    a = DEPTH_QUANTIZATION * (DEPTH_QUANTIZATION + 1.0)
    b = 1.0 - a / DEPTH_MAX_M
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.rint(a / metres.astype(np.float64) + b)
    q = np.where((q >= 1) & (q <= 65535) & (metres > 0), q, 0).astype(np.uint16)
    return HEADER.pack(INVERSE_DEPTH, a, b) + image_file.encode_png(q)
