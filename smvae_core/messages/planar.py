"""Images whose brightness and colour lie in planes of their own: nv12, nv21, nv24.

ITU-R BT.601 as OpenCV has it, like the packed YUV encodings. Neither cv_bridge nor rosbags-image
reads them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core.messages.base import ConversionError, read_bytes, read_whole


class Planes(NamedTuple):
    """How the plane of colour behind that of brightness is laid out."""

    share: int
    """Pixels, across and down, that share one colour."""
    code: int | None
    """OpenCV's conversion; it has none for a colour per pixel."""


PLANAR = {
    "nv12": Planes(2, cv2.COLOR_YUV2RGB_NV12),
    "nv21": Planes(2, cv2.COLOR_YUV2RGB_NV21),
    "nv24": Planes(1, None),
}

#: Y of black; U and V of grey.
_BLACK, _GREY = np.uint8(16), 128
_WEIGHTS = np.array(  # of Y, U, V in red, green, blue
    [[1.164383, 0.0, 1.596027], [1.164383, -0.391762, -0.812968], [1.164383, 2.017232, 0.0]]
)
_BT601 = np.column_stack([_WEIGHTS, -_WEIGHTS @ (16, _GREY, _GREY)])


def decode_rgb(name: str, message: Any, encoding: str) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of an image message of a planar encoding.

    A row of colours has as many bytes as `step` times the rows of brightness that it covers says:
    `step` bytes where four pixels share one, twice that where each has its own.

    Raises:
        ConversionError: size, step or the type of a field are not what they must be.
    """
    planes = PLANAR[encoding]
    width, height, step = (read_whole(name, message, f) for f in ("width", "height", "step"))
    if width < 1 or height < 1 or width % planes.share or height % planes.share:
        what = "even" if planes.share == 2 else "positive"
        expected = f"{what} width and height of {encoding}"
        raise ConversionError(name, "size", expected=expected, got=f"{width} x {height}")
    if step < width:
        raise ConversionError(name, "step", expected=f"at least {width} bytes per row", got=step)
    data = read_bytes(name, message)
    rows, across = height // planes.share, 2 * width // planes.share
    stride = 2 * step // planes.share
    if data.size != step * height + stride * rows:
        expected = f"{step * height} bytes and {stride * rows} of colour"
        raise ConversionError(name, "size", expected=expected, got=data.size)
    bright = data[: step * height].reshape(height, step)[:, :width]
    colour = data[step * height :].reshape(rows, stride)[:, :across]
    if planes.code is not None:
        packed = np.concatenate([bright, colour])
        return np.asarray(cv2.cvtColor(packed, planes.code), np.uint8)
    u, v = cv2.split(np.ascontiguousarray(colour).reshape(height, width, 2))
    yuv = cv2.merge([np.maximum(bright, _BLACK), u, v])
    return np.asarray(cv2.transform(yuv, _BT601), np.uint8)
