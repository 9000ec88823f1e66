"""`depth_image`: another part of the view, with holes where nothing returned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_training.augment.base import Sensor, register
from smvae_training.augment.image import shift
from smvae_training.draws import Draws, places


def holes(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Take the returns of one rectangle of up to `holes` of an image (B, 1, H, W): 0, as measured.

    An image that would have no return left stays as it is: a sensor that sees nothing is absent.
    """
    share = sensor.config.holes
    if not share:
        return samples
    count, _, height, width = samples.shape
    area = share * rng.random(count)
    aspect = np.exp(0.7 * (2.0 * rng.random(count) - 1.0))
    hidden = np.ones((count, 1, height, width), bool)
    for axis, (side, stretch) in enumerate(((height, aspect), (width, 1.0 / aspect))):
        size = np.minimum(side, np.rint(side * np.sqrt(area * stretch))).astype(np.int64)
        first = places(rng, side - size + 1)
        place = np.arange(side)
        inside = (place >= first[:, None]) & (place < (first + size)[:, None])
        hidden &= inside[:, None, :, None] if axis == 0 else inside[:, None, None, :]
    changed = np.where(hidden, np.float32(0.0), samples)
    left = (changed > 0).any(axis=(1, 2, 3), keepdims=True)
    return np.where(left, changed, samples)


register("depth_image", shift, holes)
