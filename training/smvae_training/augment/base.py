"""The table of augmentations by kind.

An augmentation changes prepared samples (B, *shape) as another camera, mounting or driver would
have: in the units and dtype of `preprocessing.prepare`, with what is absent left absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_training.config import AugmentConfig
from smvae_training.draws import Draws, places


class Sensor(NamedTuple):
    """Whose samples are changed, and by how much."""

    modality: Modality
    scale: NDArray[np.float32]
    """Deviation of the training records as they are, broadcast over (*shape)."""
    config: AugmentConfig


#: (whose, samples (B, *shape) that may be written to, random numbers) -> samples.
Augmentation = Callable[[Sensor, NDArray[Any], Draws], NDArray[Any]]
_AUGMENTATIONS: dict[str, tuple[Augmentation, ...]] = {}


def register(kind: str, *augmentations: Augmentation) -> None:
    """Say what is done to samples of a kind, in this order."""
    _AUGMENTATIONS[kind] = augmentations


def augment(sensor: Sensor, samples: NDArray[Any], rng: Draws) -> NDArray[Any]:
    """Return samples as they might have been; those of a kind without a file here stay."""
    for each in _AUGMENTATIONS.get(sensor.modality.kind, ()):
        samples = each(sensor, samples, rng)
    return samples


def uniform(rng: Draws, limit: float, *shape: int) -> NDArray[np.float32]:
    """Return numbers within +-limit."""
    return (limit * (2.0 * rng.random(shape, dtype=np.float32) - 1.0)).astype(np.float32)


def bursts(rng: Draws, count: int, length: int, longest: int) -> NDArray[np.bool_]:
    """Return (count, length) True in one run of 0 to `longest` neighbours, anywhere."""
    size = rng.integers(0, longest + 1, count)
    first = places(rng, length - size + 1)
    place = np.arange(length)
    return np.asarray((place >= first[:, None]) & (place < (first + size)[:, None]))
