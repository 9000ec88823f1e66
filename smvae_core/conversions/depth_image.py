"""sensor_msgs/Image <-> (H, W) float32 metres along the optical axis (REP 118)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.conversions import image_data
from smvae_core.conversions.base import ConversionOptions, Converter, set_header
from smvae_core.modality import Modality

ENCODING = "32FC1"
#: Metres per unit of each encoding. mono16 is what several drivers call their millimetres.
METRES_PER_UNIT = {"32FC1": 1.0, "16UC1": 0.001, "mono16": 0.001}


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return (H, W) float32 m of a depth message; 0, NaN and infinities mean no return and stay.

    Raises:
        ConversionError: If the encoding is not a depth one, or sizes do not match.
    """
    image = image_data.decode(modality.name, message, tuple(METRES_PER_UNIT), "")
    scale = options.depth_scale or METRES_PER_UNIT[message.encoding]
    if image.dtype == np.float32 and scale == 1.0:
        return image
    return image.astype(np.float32) * np.float32(scale)


def fill(
    modality: Modality,
    message: Any,
    sample: NDArray[np.float32],
    stamp_ns: int,
    frame_id: str,
    options: ConversionOptions,
) -> Any:
    """Write (H, W) float32 m into an empty image message as 32FC1 and return it."""
    set_header(message, stamp_ns, frame_id)
    image_data.fill(message, np.asarray(sample, np.float32), ENCODING)
    return message


CONVERTER = Converter("sensor_msgs/msg/Image", to_array, fill, ENCODING)
