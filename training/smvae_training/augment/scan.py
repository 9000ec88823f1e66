"""`scan`: neighbouring beams without a return, and noise of the others' ranges.

A sample is (2, beams): range [m], and 1 where the beam returned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_training.augment.base import Sensor, bursts, register
from smvae_training.draws import Draws


def holes(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Take the returns of a run of up to `holes` of the beams: range 0, flag 0, as measured.

    A scan that would have no return left stays as it is.
    """
    beams = samples.shape[2]
    longest = min(round(sensor.config.holes * beams), beams)
    if longest < 1:
        return samples
    lost = bursts(rng, len(samples), beams, longest)[:, None]
    changed = np.where(lost, np.float32(0.0), samples)
    left = (changed[:, 1:] > 0).any(axis=2, keepdims=True)
    return np.where(left, changed, samples)


def noise(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Change the ranges of the beams that returned by `noise` of themselves; their flags stay."""
    if not sensor.config.noise:
        return samples
    ranges, flags = samples[:, :1], samples[:, 1:]
    drawn = rng.standard_normal(ranges.shape, dtype=np.float32)
    factor = np.maximum(1.0 + sensor.config.noise * drawn, 0.0)
    return np.concatenate([ranges * factor, flags], axis=1).astype(np.float32)


register("scan", holes, noise)
