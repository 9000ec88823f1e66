"""Whether a converted sample looks like what its modality says: warnings, never refusals.

A message can be well formed and still wrong: depth in the wrong unit, a covered lens, a force
sensor that sends zeros. Such samples are used, and the robot's operator is told; what cannot be
used at all (depth without a return, numbers beyond LARGEST) the converters have refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import Modality

#: A median depth [m] beyond the first is taken for unscaled millimetres; below the second, for
#: metres that were scaled as millimetres. Robots' cameras see neither.
FAR_M, NEAR_M = 50.0, 0.005
#: A force or torque [N, N m] beyond this is taken for another unit.
FORCE_LIMIT = 10_000.0
#: A displacement per step [m, rad] beyond this is taken for another unit.
DISPLACEMENT_LIMIT = 3.2
#: Pixels looked at, evenly spread: enough for a median, cheap at any resolution.
_LOOKED_AT = 4096


def plausibility(modality: Modality, sample: NDArray[Any]) -> str:
    """Return '' or what looks wrong with a sample in SI units, as one phrase for a warning.

    Args:
        modality: Says the kind.
        sample: What its converter gave (see RAW_SAMPLE), or a force window or reading.
    """
    values = np.asarray(sample)
    if values.size == 0:
        return "no values"
    if modality.kind == "depth_image":
        return _depth(values.reshape(-1))
    if modality.kind == "color_image":
        flat = values.reshape(-1)
        if (flat[:: max(1, flat.size // _LOOKED_AT)] != flat[0]).any() or (flat != flat[0]).any():
            return ""
        return f"every value of every pixel is {flat[0]}"
    if modality.kind == "force_window":
        if not values.any():
            return "every force and torque is exactly 0: is the sensor sending?"
        return _beyond(values, FORCE_LIMIT, "N or N m")
    if modality.kind == "vector":
        return _beyond(values, DISPLACEMENT_LIMIT, "m or rad per step")
    return ""


def _depth(depth: NDArray[Any]) -> str:
    looked = depth[:: max(1, depth.size // _LOOKED_AT)]
    finite = looked[np.isfinite(looked)]
    if (finite < 0).mean() > 0.01 if finite.size else False:
        return "negative depth: is the cloud or image in the camera's optical frame (z forward)?"
    returns = finite[finite > 0]
    if not returns.size:
        return ""  # those that there are were not looked at
    median = float(np.median(returns))
    if median > FAR_M:
        return f"median depth {median:.4g} m looks like millimetres: set depth_scale to 0.001"
    if median < NEAR_M:
        return f"median depth {median:.4g} m looks like metres read as millimetres: set depth_scale"
    return ""


def _beyond(values: NDArray[Any], limit: float, unit: str) -> str:
    largest = float(np.abs(values).max())
    return "" if largest <= limit else f"{largest:.4g} {unit} is beyond {limit:g}: another unit?"
