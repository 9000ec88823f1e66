"""`signal`: a bias that drifted, noise, and readings that were lost in bursts.

C channels, T readings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_training.augment.base import Sensor, bursts, register
from smvae_training.draws import Draws


def bias(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Add to all readings of a window (B, C, T) one number per channel, `bias` deviations large."""
    if not sensor.config.bias:
        return samples
    drawn = rng.standard_normal((*samples.shape[:2], 1), dtype=np.float32)
    return np.asarray(samples + sensor.config.bias * sensor.scale * drawn, np.float32)


def noise(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Add noise of `noise` deviations to every number (B, *shape)."""
    if not sensor.config.noise:
        return samples
    drawn = rng.standard_normal(samples.shape, dtype=np.float32)
    return np.asarray(samples + sensor.config.noise * sensor.scale * drawn, np.float32)


def lost_readings(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Join by straight lines, as a node does, over runs of up to `lost` of a window's readings.

    The first and the last reading stay: a window begins and ends with one.
    """
    length = samples.shape[2]
    longest = min(round(sensor.config.lost * length), length - 2)
    if longest < 1:
        return samples
    inner = bursts(rng, len(samples), length - 2, longest)
    lost = np.pad(inner, ((0, 0), (1, 1)))
    place = np.arange(length)
    before = np.maximum.accumulate(np.where(lost, 0, place), axis=1)
    after = np.minimum.accumulate(np.where(lost, length - 1, place)[:, ::-1], axis=1)[:, ::-1]
    share = ((place - before) / np.maximum(after - before, 1)).astype(np.float32)
    low, high = (np.take_along_axis(samples, i[:, None], axis=2) for i in (before, after))
    return np.asarray(low + share[:, None] * (high - low), np.float32)


register("signal", bias, noise, lost_readings)
