"""sensor_msgs/Image <-> (H, W, 3) uint8 RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.conversions import image_data
from smvae_core.conversions.base import ConversionOptions, Converter, set_header
from smvae_core.modality import Modality

ENCODING = "rgb8"
ACCEPTED = (
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    "mono8",
    "bayer_rggb8",
    "bayer_bggr8",
    "bayer_gbrg8",
    "bayer_grbg8",
)


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of an image message; it may share the message's memory.

    Raises:
        ConversionError: If the encoding is not a colour or grey one, or sizes do not match.
    """
    return np.asarray(image_data.decode(modality.name, message, ACCEPTED, ENCODING), np.uint8)


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


CONVERTER = Converter("sensor_msgs/msg/Image", to_array, fill, ENCODING)
