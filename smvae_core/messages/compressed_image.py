"""sensor_msgs/CompressedImage: what its `format` says, and the image in the encoding it had.

`format` is 'jpeg', 'png', or as image_transport writes it '<encoding>; jpeg compressed <order>'
and '<encoding>; compressedDepth png' or '... rvl'. After decoding, pixels go the way of a raw image
of the same encoding, so that the transport changes no number (but for JPEG's own loss).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.messages import compressed_depth, image_data, image_file
from smvae_core.messages.base import ConversionError, read_bytes, read_text

_COLORED = ("rgb8", "bgr8", "rgba8", "bgra8", "rgb16", "bgr16", "rgba16", "bgra16")
_DEPTH_ENCODINGS = ("16UC1", "32FC1", "mono16")


class Format(NamedTuple):
    """What CompressedImage.format says."""

    encoding: str
    """Of the image before compression; '' where it is not said."""
    codec: str
    """'jpeg', 'png' or 'compressedDepth'."""
    is_rgb: bool
    """Whether the file's channels were swapped on the way in, which image_transport tells by the
    absence of 'compressed bgr' behind a colour encoding."""
    is_rvl: bool = False
    """Whether compressedDepth is packed as RVL, not as PNG."""


def parse(name: str, text: str) -> Format:
    """Return what a `format` says.

    Raises:
        ConversionError: If it names no codec that is read here.
    """
    encoding, split, rest = text.partition(";")
    encoding, rest = (encoding.strip(), rest.strip()) if split else ("", text.strip())
    words = rest.split()
    first = words[0].lower() if words else ""
    if first == "compresseddepth" and words[1:] in ([], ["png"], ["rvl"]):
        return Format(encoding, "compressedDepth", False, is_rvl=words[1:] == ["rvl"])
    if first in ("jpeg", "jpg", "png"):
        is_rgb = encoding in _COLORED and "compressed bgr" not in rest
        return Format(encoding, "png" if first == "png" else "jpeg", is_rgb)
    raise ConversionError(
        name,
        "format",
        expected="'jpeg', 'png', '<encoding>; jpeg|png compressed ...' or "
        "'<encoding>; compressedDepth png|rvl'",
        got=repr(text),
    )


def decode_rgb(name: str, message: Any) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of a JPEG or PNG.

    Raises:
        ConversionError: 'format' if it is none, else as `image_file.decode` and
            `image_data.check_side` (a compressed Bayer pattern is interpolated like a raw one).
    """
    said = parse(name, read_text(name, message, "format"))
    if said.codec == "compressedDepth":
        raise ConversionError(
            name, "format", expected="a colour image as jpeg or png", got="compressedDepth"
        )
    pixels = image_file.decode(name, read_bytes(name, message), said.codec)
    return image_data.rgb(_as_raw(name, pixels, said))


def _as_raw(name: str, pixels: NDArray[Any], said: Format) -> SimpleNamespace:
    """Return decoded pixels as the raw image that they were."""
    bits = 8 * pixels.itemsize
    if pixels.ndim == 3:
        order = "rgb" if said.is_rgb else "bgr"
        return image_data.of_array(pixels, f"{order}{'a' * (pixels.shape[2] - 3)}{bits}")
    encoding = f"mono{bits}"
    if said.encoding.startswith("bayer_"):
        encoding = f"{said.encoding.rstrip('0123456789')}{bits}"
        if encoding not in image_data.ENCODINGS:
            known = ", ".join(e for e in image_data.ENCODINGS if e.startswith("bayer"))
            raise ConversionError(
                name, "encoding", expected=f"one of {known}", got=repr(said.encoding)
            )
    image_data.check_side(name, encoding, pixels.shape[1], pixels.shape[0])
    return image_data.of_array(pixels, encoding)


def decode_depth(name: str, message: Any) -> tuple[NDArray[Any], str]:
    """Return a depth image (H, W) and the raw encoding whose unit it has, '16UC1' or '32FC1'.

    Raises:
        ConversionError: 'format' if it is a JPEG or of another codec, 'encoding' if it is not one
            channel of 16 bits, else as `compressed_depth.decode` and `image_file.decode`.
    """
    said = parse(name, read_text(name, message, "format"))
    if said.codec == "jpeg":
        raise ConversionError(
            name, "format", expected="compressedDepth or a png of 16 bits", got="jpeg, which loses"
        )
    if (said.encoding or "16UC1") not in _DEPTH_ENCODINGS:
        expected = f"one of {', '.join(_DEPTH_ENCODINGS)}"
        raise ConversionError(name, "encoding", expected=expected, got=repr(said.encoding))
    data = read_bytes(name, message)
    if said.codec == "compressedDepth":
        encoding = "32FC1" if said.encoding == "32FC1" else "16UC1"
        return compressed_depth.decode(name, data, encoding, is_rvl=said.is_rvl), encoding
    if said.encoding == "32FC1":
        raise ConversionError(
            name, "encoding", expected="32FC1 as compressedDepth", got="a png, which has no floats"
        )
    pixels = image_file.decode(name, data, "png")
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ConversionError(
            name,
            "encoding",
            expected="one channel of 16 bits",
            got=f"{pixels.shape} {pixels.dtype}",
        )
    return pixels, "16UC1"


def fill(message: Any, data: bytes, text: str) -> None:
    """Write a file and its `format` into a message, by one copy."""
    message.format = text
    message.data = image_data.as_array(np.frombuffer(data, np.uint8))
