"""`color_image` and `grey_image`: another part of the view, in another light."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_training.augment.base import Sensor, register, uniform
from smvae_training.augment.image import shift
from smvae_training.draws import Draws


def light(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Change gain, level and tint of uint8 images (B, C, H, W) by up to `color`."""
    limit = sensor.config.color
    if not limit:
        return samples
    count, channels = samples.shape[:2]
    gain = 1.0 + uniform(rng, limit, count, 1, 1, 1)
    tint = 1.0 + uniform(rng, 0.5 * limit, count, channels, 1, 1)
    level = 127.5 * uniform(rng, limit, count, 1, 1, 1)
    changed = samples.astype(np.float32) * (gain * tint) + level
    return np.clip(np.rint(changed), 0.0, 255.0).astype(np.uint8)


for kind in ("color_image", "grey_image"):
    register(kind, shift, light)
