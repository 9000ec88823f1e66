"""geometry_msgs/TwistStamped <-> displacement (C,) float32 in m and rad.

The model knows displacements per control step, robots command velocities:
displacement = twist x step time. `modality.fields` names the components, e.g. 'linear.x'.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.conversions.base import (
    ConversionOptions,
    Converter,
    read_fields,
    set_header,
    write_fields,
)
from smvae_core.modality import Modality


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return the displacement (C,) in the order of `modality.fields`.

    Raises:
        ConversionError: If a field is missing or not finite.
    """
    twist = read_fields(modality, message.twist, modality.fields)
    return (twist * options.step_time_s).astype(np.float32)


def fill(
    modality: Modality,
    message: Any,
    sample: NDArray[Any],
    stamp_ns: int,
    frame_id: str,
    options: ConversionOptions,
) -> Any:
    """Write a displacement (C,) into an empty TwistStamped as a velocity and return it."""
    set_header(message, stamp_ns, frame_id)
    velocity = np.asarray(sample, np.float64) / options.step_time_s
    write_fields(message.twist, modality.fields, velocity)
    return message


CONVERTER = Converter("geometry_msgs/msg/TwistStamped", to_array, fill)
