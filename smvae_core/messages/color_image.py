"""sensor_msgs/Image and CompressedImage <-> (H, W, 3) uint8 RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.messages import compressed_image, image_data, image_file
from smvae_core.messages.base import ConversionOptions, Converter, set_header
from smvae_core.modality import Modality

ENCODING = "rgb8"
#: 8UC1 can only be grey; 8UC3 does not say which channel is red, 16UC1 is what depth has.
ACCEPTED = tuple(e for e in image_data.ENCODINGS if e not in ("16UC1", "32FC1"))


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of an image message; it may share the message's memory.

    Raises:
        ConversionError: If the encoding is not a colour or grey one, or sizes do not match.
    """
    return image_data.decode_rgb(modality.name, message, ACCEPTED)


def fill(
    modality: Modality,
    message: Any,
    sample: NDArray[np.uint8],
    stamp_ns: int,
    frame_id: str,
    options: ConversionOptions,
) -> Any:
    """Write (H, W, 3) uint8 RGB into an empty image message and return it."""
    set_header(message, stamp_ns, frame_id)
    image_data.fill(message, np.asarray(sample, np.uint8), ENCODING)
    return message


def compressed_to_array(
    modality: Modality, message: Any, options: ConversionOptions
) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of a CompressedImage, JPEG or PNG.

    Raises:
        ConversionError: See `compressed_image.decode_rgb`.
    """
    return compressed_image.decode_rgb(modality.name, message)


def fill_compressed(
    modality: Modality,
    message: Any,
    sample: NDArray[np.uint8],
    stamp_ns: int,
    frame_id: str,
    options: ConversionOptions,
) -> Any:
    """Write (H, W, 3) uint8 RGB into an empty CompressedImage as PNG, without loss; return it."""
    set_header(message, stamp_ns, frame_id)
    bgr = np.ascontiguousarray(np.asarray(sample, np.uint8)[:, :, ::-1])
    compressed_image.fill(message, image_file.encode_png(bgr), "rgb8; png compressed bgr8")
    return message


CONVERTER = Converter("sensor_msgs/msg/Image", to_array, fill, ENCODING)
COMPRESSED = Converter(
    "sensor_msgs/msg/CompressedImage", compressed_to_array, fill_compressed, "png"
)
