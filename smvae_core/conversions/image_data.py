"""Image messages: validity first, then one seam to the decoder that this machine has.

`plain` checks a sensor_msgs/Image and strips padding and foreign byte order, so that what reaches
the decoder is always tight and native. The decoder is ROS's cv_bridge where it imports and passes a
self-check (the one built for numpy 1 crashes or misreads under numpy 2), rosbags-image otherwise;
both give the same arrays.
"""

from __future__ import annotations

import logging
import sys
from array import array
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.conversions.base import ConversionError
from smvae_core.errors import MissingDependency

logger = logging.getLogger(__name__)

#: Encoding -> (dtype of one channel, channels).
ENCODINGS: dict[str, tuple[str, int]] = {
    "rgb8": ("u1", 3),
    "bgr8": ("u1", 3),
    "rgba8": ("u1", 4),
    "bgra8": ("u1", 4),
    "mono8": ("u1", 1),
    "bayer_rggb8": ("u1", 1),
    "bayer_bggr8": ("u1", 1),
    "bayer_gbrg8": ("u1", 1),
    "bayer_grbg8": ("u1", 1),
    "mono16": ("u2", 1),
    "16UC1": ("u2", 1),
    "32FC1": ("f4", 1),
}

Decoder = Callable[[Any, str], NDArray[Any]]


def plain(name: str, message: Any, encodings: tuple[str, ...]) -> SimpleNamespace:
    """Return the message's image without padding, in native byte order, as a message-like object.

    Args:
        name: Modality, for the error.
        message: sensor_msgs/Image of rclpy or rosbags, or anything with its fields.
        encodings: Which encodings are welcome.

    Raises:
        ConversionError: encoding, size or step are not what they must be.
    """
    encoding = message.encoding
    if encoding not in encodings:
        raise ConversionError(
            name, "encoding", expected=f"one of {', '.join(encodings)}", got=repr(encoding)
        )
    type_code, channels = ENCODINGS[encoding]
    native = np.dtype(type_code)
    width, height, step = int(message.width), int(message.height), int(message.step)
    if width < 1 or height < 1:
        raise ConversionError(
            name, "size", expected="positive width and height", got=f"{width} x {height}"
        )
    row = width * channels * native.itemsize
    if step < row:
        raise ConversionError(name, "step", expected=f"at least {row} bytes per row", got=step)
    data = np.frombuffer(message.data, np.uint8)
    if data.size != step * height:
        raise ConversionError(
            name, "size", expected=f"{step * height} bytes ({step} x {height})", got=data.size
        )
    rows = np.ascontiguousarray(data.reshape(height, step)[:, :row])
    foreign = bool(message.is_bigendian) != (sys.byteorder == "big")
    if native.itemsize > 1 and foreign:
        rows = rows.view(native).byteswap().view(np.uint8)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=row,
        data=rows.reshape(-1),
    )


def decode(name: str, message: Any, encodings: tuple[str, ...], wanted: str) -> NDArray[Any]:
    """Return a checked image message as an array (H, W) or (H, W, C) in the encoding `wanted`.

    An empty `wanted` keeps the message's own. The array may share the message's memory.

    Raises:
        ConversionError: See `plain`.
        MissingDependency: If no decoder is installed.
    """
    return decoder()[1](plain(name, message, encodings), wanted)


@lru_cache(maxsize=1)
def decoder() -> tuple[str, Decoder]:
    """Return the name and the function of the image decoder in use.

    Raises:
        MissingDependency: If neither cv_bridge nor rosbags-image works here.
    """
    for name, load in (("cv_bridge", _load_cv_bridge), ("rosbags-image", _load_rosbags)):
        try:
            function = load()
            self_check(function)
        except ImportError:
            continue
        except Exception as err:  # a decoder built for another numpy raises anything
            logger.warning("%s fails its self-check and is not used: %s", name, err)
            continue
        return name, function
    raise MissingDependency("rosbags-image", "bags")


def _load_cv_bridge() -> Decoder:
    from cv_bridge import CvBridge  # type: ignore[import-not-found]

    bridge = CvBridge()
    return lambda message, wanted: bridge.imgmsg_to_cv2(message, wanted or "passthrough")


def _load_rosbags() -> Decoder:
    from rosbags.image import image_to_cvimage

    return lambda message, wanted: image_to_cvimage(message, wanted or None)


def self_check(function: Decoder) -> None:
    """Raise ValueError unless a decoder turns three small known images into the known arrays."""
    color = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    metres = np.linspace(0.1, 0.6, 6, dtype=np.float32).reshape(2, 3)
    millimetres = np.arange(300, 306, dtype=np.uint16).reshape(2, 3)
    cases = (("bgr8", color, "rgb8", color[:, :, ::-1]), ("32FC1", metres, "", metres))
    for encoding, image, wanted, expected in (*cases, ("16UC1", millimetres, "", millimetres)):
        got = function(_message_like(image, encoding), wanted)
        if got.dtype != expected.dtype or not np.array_equal(got, expected):
            raise ValueError(f"a {encoding} image came back wrong")


def _message_like(image: NDArray[Any], encoding: str) -> SimpleNamespace:
    return SimpleNamespace(
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=image.strides[0],
        data=image.reshape(-1).view(np.uint8),
    )


def fill(message: Any, image: NDArray[Any], encoding: str) -> None:
    """Write an image (H, W) or (H, W, C) into a message, by one copy.

    rclpy keeps pixels in an array.array; giving it numpy memory instead would loop over every byte
    (650 ms for one 1080p frame, against 0.3 ms).
    """
    image = np.ascontiguousarray(image)
    message.height, message.width = image.shape[:2]
    message.encoding = encoding
    message.is_bigendian = int(sys.byteorder == "big")
    message.step = int(image.strides[0])
    data = array("B")
    data.frombytes(image.data.cast("B"))
    message.data = data
