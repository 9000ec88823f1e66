"""geometry_msgs/WrenchStamped <-> one reading (6,) float32 in N and N m.

A window is what the collector makes of readings (`fusion.window.resample_window`). Frame, sign,
gravity and bias are the driver's: they must be those of the training data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.messages.base import (
    ConversionOptions,
    Converter,
    finite,
    read_fields,
    read_member,
    set_header,
    write_fields,
)
from smvae_core.modality import Modality


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return one reading (C,) in the order of `modality.fields`.

    Raises:
        ConversionError: If a field is missing or not finite.
    """
    wrench = read_member(modality.name, message, "wrench")
    return finite(modality, read_fields(modality, wrench, modality.fields), modality.fields)


def fill(
    modality: Modality,
    message: Any,
    sample: NDArray[Any],
    stamp_ns: int,
    frame_id: str,
    options: ConversionOptions,
) -> Any:
    """Write one reading (C,) into an empty WrenchStamped and return it."""
    set_header(message, stamp_ns, frame_id)
    write_fields(message.wrench, modality.fields, sample)
    return message


CONVERTER = Converter("geometry_msgs/msg/WrenchStamped", to_array, fill)
