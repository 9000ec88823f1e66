"""What is done to every image: another part of the view, as a camera that was touched gives.

H, W height and width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_training.augment.base import Sensor
from smvae_training.draws import Draws


def shift(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Shift images (B, C, H, W) by up to `crop` of their sides; their border is repeated."""
    count, channels, height, width = samples.shape
    share = sensor.config.crop
    if not share:
        return samples
    places = []
    for side in (height, width):
        most = round(share * side)
        moved = np.arange(side) + rng.integers(-most, most + 1, (count, 1))
        places.append(np.clip(moved, 0, side - 1))
    record = np.arange(count)[:, None, None, None]
    channel = np.arange(channels)[:, None, None]
    rows, columns = places
    return np.asarray(samples[record, channel, rows[:, None, :, None], columns[:, None, None, :]])
