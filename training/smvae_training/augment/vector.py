"""`vector` and `joint_state`: a bias and noise. A command is known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_training.augment.base import Sensor, register
from smvae_training.augment.signal import noise
from smvae_training.draws import Draws


def bias(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Add a number of `bias` deviations to every channel (B, C)."""
    if not sensor.config.bias:
        return samples
    drawn = rng.standard_normal(samples.shape, dtype=np.float32)
    return np.asarray(samples + sensor.config.bias * sensor.scale * drawn, np.float32)


for kind in ("vector", "joint_state"):
    register(kind, bias, noise)
