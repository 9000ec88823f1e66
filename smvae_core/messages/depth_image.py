"""Depth messages <-> (H, W) float32 metres along the optical axis (REP 118).

sensor_msgs/Image, sensor_msgs/CompressedImage and, read only, organised sensor_msgs/PointCloud2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError
from smvae_core.messages import compressed_depth, compressed_image, image_data, organised_cloud
from smvae_core.messages.base import (
    ConversionError,
    ConversionOptions,
    Converter,
    set_header,
)
from smvae_core.modality import Modality

ENCODING = "32FC1"
#: Metres per unit of each encoding. mono16 is what several drivers call their millimetres.
METRES_PER_UNIT = {"32FC1": 1.0, "16UC1": 0.001, "mono16": 0.001}


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return (H, W) float32 m of a depth message; 0, NaN and infinities mean no return and stay.

    Raises:
        ConversionError: If the encoding is not a depth one, sizes do not match, or no pixel has a
            return.
    """
    image = image_data.decode(modality.name, message, tuple(METRES_PER_UNIT))
    return _metres(modality.name, image, message.encoding, options)


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


def compressed_to_array(
    modality: Modality, message: Any, options: ConversionOptions
) -> NDArray[np.float32]:
    """Return (H, W) float32 m of a CompressedImage: compressedDepth, or a PNG of 16 bits.

    Raises:
        ConversionError: See `compressed_image.decode_depth`; if no pixel has a return.
    """
    image, encoding = compressed_image.decode_depth(modality.name, message)
    return _metres(modality.name, image, encoding, options)


def fill_compressed(
    modality: Modality,
    message: Any,
    sample: NDArray[np.float32],
    stamp_ns: int,
    frame_id: str,
    options: ConversionOptions,
) -> Any:
    """Write (H, W) float32 m into an empty CompressedImage as compressedDepth and return it.

    With the loss that `compressed_depth.encode` states.
    """
    set_header(message, stamp_ns, frame_id)
    data = compressed_depth.encode(np.asarray(sample, np.float32))
    compressed_image.fill(message, data, "32FC1; compressedDepth png")
    return message


def cloud_to_array(
    modality: Modality, message: Any, options: ConversionOptions
) -> NDArray[np.float32]:
    """Return (H, W) float32 m of an organised PointCloud2: z in its frame, an optical one.

    Raises:
        ConversionError: See `organised_cloud.depth`; if no point is before the camera.
    """
    image = organised_cloud.depth(modality.name, message)
    return _metres(modality.name, image, "32FC1", options)


def fill_cloud(modality: Modality, *_: Any) -> Any:
    """Refuse: points need a camera's intrinsics, which a sample of depth does not carry.

    Raises:
        ConfigError: Always.
    """
    raise ConfigError(
        f"modality '{modality.name}': point clouds are read, not written; "
        f"write {CONVERTER.message_type}"
    )


def _metres(
    name: str, image: NDArray[Any], encoding: str, options: ConversionOptions
) -> NDArray[np.float32]:
    scale = options.depth_scale or METRES_PER_UNIT[encoding]
    if image.dtype == np.float32 and scale == 1.0:
        metres = image
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # infinities and NaN mean no return
            metres = image.astype(np.float32) * np.float32(scale)
    # a few pixels decide nearly always
    if not (_has_return(metres[::16, ::16]) or _has_return(metres)):
        got = "0, negative, NaN or infinite everywhere"
        raise ConversionError(name, "empty", expected="a pixel before the camera", got=got)
    return metres


def _has_return(metres: NDArray[np.float32]) -> bool:
    return bool(((metres > 0) & (metres < np.inf)).any())


CONVERTER = Converter("sensor_msgs/msg/Image", to_array, fill, ENCODING)
COMPRESSED = Converter(
    "sensor_msgs/msg/CompressedImage", compressed_to_array, fill_compressed, "compressedDepth"
)
CLOUD = Converter("sensor_msgs/msg/PointCloud2", cloud_to_array, fill_cloud)
