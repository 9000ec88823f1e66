"""Image messages: validity first, then one seam to the decoder that this machine has.

`plain` checks a sensor_msgs/Image and strips padding and foreign byte order, so that what reaches
the decoder is always tight and native. Which decoder that is, `decoders.decoder` decides.
"""

from __future__ import annotations

import sys
from array import array
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.messages import planar
from smvae_core.messages.base import (
    ConversionError,
    read_bytes,
    read_text,
    read_whole,
)
from smvae_core.messages.decoders import decoder


class Encoding(NamedTuple):
    """How one encoding's pixels lie in memory."""

    dtype: str
    """Of one channel."""
    channels: int
    name: str = ""
    """What every decoder calls it, where that is another name for the same pixels."""


#: Every packed encoding that is read (planar.py has the others); which of them a modality takes is
#: its own module's matter.
ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding("u1", 3),
    "bgr8": Encoding("u1", 3),
    "rgba8": Encoding("u1", 4),
    "bgra8": Encoding("u1", 4),
    "mono8": Encoding("u1", 1),
    "8UC1": Encoding("u1", 1, "mono8"),
    "rgb16": Encoding("u2", 3),
    "bgr16": Encoding("u2", 3),
    "rgba16": Encoding("u2", 4),
    "bgra16": Encoding("u2", 4),
    "mono16": Encoding("u2", 1),
    "16UC1": Encoding("u2", 1, "mono16"),
    "32FC1": Encoding("f4", 1),
    "yuv422": Encoding("u1", 2),
    "uyvy": Encoding("u1", 2, "yuv422"),
    "yuv422_yuy2": Encoding("u1", 2),
    "yuyv": Encoding("u1", 2, "yuv422_yuy2"),
    **{
        f"bayer_{pattern}{bits}": Encoding(f"u{bits // 8}", 1)
        for bits in (8, 16)
        for pattern in ("rggb", "bggr", "gbrg", "grbg")
    },
}

#: Two pixels share their colour in these, so that a row holds an even number of them.
PAIRED = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv")
#: Below this many rows or columns a colour filter pattern has no interior to interpolate in.
BAYER_SIDE = 3


def plain(name: str, message: Any, encodings: tuple[str, ...]) -> SimpleNamespace:
    """Return the message's image without padding, in native byte order, as a message-like object.

    Args:
        name: Modality, for the error.
        message: sensor_msgs/Image of rclpy or rosbags, or anything with its fields.
        encodings: Which encodings are welcome.

    Raises:
        ConversionError: encoding, size, step or the type of a field are not what they must be.
    """
    encoding = read_text(name, message, "encoding")
    if encoding not in encodings:
        expected = f"one of {', '.join(encodings)}"
        if encoding in ("8UC3", "8UC4"):
            expected = "an encoding that names the order of its channels, e.g. rgb8 or bgr8"
        raise ConversionError(name, "encoding", expected=expected, got=repr(encoding))
    layout = ENCODINGS[encoding]
    native = np.dtype(layout.dtype)
    width, height, step = (read_whole(name, message, f) for f in ("width", "height", "step"))
    check_side(name, encoding, width, height)
    row = width * layout.channels * native.itemsize
    if step < row:
        raise ConversionError(name, "step", expected=f"at least {row} bytes per row", got=step)
    data = read_bytes(name, message)
    if data.size != step * height:
        raise ConversionError(
            name, "size", expected=f"{step * height} bytes ({step} x {height})", got=data.size
        )
    rows = np.ascontiguousarray(data.reshape(height, step)[:, :row])
    foreign = bool(read_whole(name, message, "is_bigendian")) != (sys.byteorder == "big")
    if native.itemsize > 1 and foreign:
        rows = rows.view(native).byteswap().view(np.uint8)
    return message_like(rows.reshape(-1), layout.name or encoding, width, height, row)


def check_side(name: str, encoding: str, width: int, height: int) -> None:
    """Raise ConversionError ('size') where an image of these sides cannot be of its encoding."""
    expected = ""
    if width < 1 or height < 1:
        expected = "positive width and height"
    elif encoding in PAIRED and width % 2:
        expected = f"an even width, since {encoding} pixels come in pairs"
    elif encoding.startswith("bayer") and min(width, height) < BAYER_SIDE:
        expected = f"at least {BAYER_SIDE} x {BAYER_SIDE} pixels, to interpolate {encoding}"
    if expected:
        raise ConversionError(name, "size", expected=expected, got=f"{width} x {height}")


def message_like(
    data: NDArray[np.uint8], encoding: str, width: int, height: int, step: int
) -> SimpleNamespace:
    """Return native bytes with the fields of a sensor_msgs/Image."""
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=step,
        data=data,
    )


def of_array(image: NDArray[Any], encoding: str) -> SimpleNamespace:
    """Return pixels (H, W) or (H, W, C) with the fields of a sensor_msgs/Image."""
    image = np.ascontiguousarray(image)
    height, width = image.shape[:2]
    data = image.reshape(-1).view(np.uint8)
    return message_like(data, ENCODINGS[encoding].name or encoding, width, height, image.strides[0])


def decode(name: str, message: Any, encodings: tuple[str, ...]) -> NDArray[Any]:
    """Return a checked one-channel image message (H, W) in its own units and type.

    Raises:
        ConversionError: See `plain`.
        MissingDependency: If no decoder is installed.
    """
    return decoder()[1](plain(name, message, encodings), "")


def decode_rgb(name: str, message: Any, encodings: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return a checked image message as (H, W, 3) uint8 RGB; it may share the message's memory.

    Raises:
        ConversionError: See `plain`.
        MissingDependency: If no decoder is installed.
    """
    encoding = read_text(name, message, "encoding")
    if encoding in planar.PLANAR and encoding in encodings:
        return planar.decode_rgb(name, message, encoding)
    return rgb(plain(name, message, encodings))


def rgb(image: SimpleNamespace) -> NDArray[np.uint8]:
    """Return a plain image (see `plain`, `of_array`) of a colour or grey encoding as RGB.

    16 bits become 8 here, rounded: decoders differ (cv_bridge rounds, rosbags-image cuts off).
    """
    if image.encoding.endswith("16"):
        wide = decoder()[1](image, "rgb16").astype(np.uint32)
        return ((wide + 128) // 257).astype(np.uint8)
    return np.asarray(decoder()[1](image, "rgb8"), np.uint8)


def fill(message: Any, image: NDArray[Any], encoding: str) -> None:
    """Write an image (H, W) or (H, W, C) into a message, by one copy."""
    image = np.ascontiguousarray(image)
    message.height, message.width = image.shape[:2]
    message.encoding = encoding
    message.is_bigendian = int(sys.byteorder == "big")
    message.step = int(image.strides[0])
    pixels = getattr(message, "data", None)
    if isinstance(pixels, array) and not pixels:
        pixels.frombytes(image.data.cast("B"))  # in place: rclpy's setter would copy once more
    else:
        message.data = as_array(image)


def as_array(values: NDArray[Any]) -> array[int]:
    """Return contiguous memory as the array.array that rclpy keeps bytes in, by one copy.

    Giving it numpy memory instead would loop over every byte (650 ms for one 1080p frame, against
    0.3 ms).
    """
    data = array("B")
    data.frombytes(values.data.cast("B"))
    return data
