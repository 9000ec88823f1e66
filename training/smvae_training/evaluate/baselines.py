"""What a model must beat: the training mean, and the nearest training record.

N scored records, T training records, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_core.preprocessing import Statistics
from smvae_datasets.dataset import Dataset, holding
from smvae_training.evaluate.records import Array, Records, in_si, thin

#: Share of the pixels that count as varying: those of the largest variance over training images.
VARYING_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class TrainingMean:
    """Mean of the training samples of a modality, in SI units, and where images vary."""

    mean: Array
    """(1, *shape); depth over the pixels with a return."""
    varying: NDArray[np.bool_] | None
    """(H, W) of an image, the 20 % of its pixels with the largest variance."""
    records: int


def training_mean(
    modality: Modality, episodes: Dataset, index: NDArray[np.int64], limit: int
) -> TrainingMean:
    """Measure mean and variance over at most `limit` training records that hold it, every k-th."""
    index = holding(episodes, index, [modality.name])
    rows, _ = thin(len(index), limit)
    array, shape = episodes.arrays[modality.name], modality.shape
    total, squares, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for part in np.array_split(index[rows], max(1, len(rows) // 500)):
        x = in_si(modality, array[part])
        valid = modality.family.measured(modality, x)
        total += np.where(valid, x, 0).sum(axis=0, dtype=np.float64)
        squares += np.where(valid, x * x, 0).sum(axis=0, dtype=np.float64)
        count += valid.sum(axis=0)
    mean = total / np.maximum(count, 1)
    varying = None
    if modality.is_image:
        variance = (squares / np.maximum(count, 1) - mean**2).sum(axis=0)
        varying = variance >= np.quantile(variance, 1.0 - VARYING_SHARE)
    return TrainingMean(mean=mean[None].astype(np.float32), varying=varying, records=len(rows))


def features(modality: Modality, statistics: Statistics, records: Records) -> Array:
    """Return (N, F) low-dimensional features: averaged pixels, averaged moments, or the vector."""
    return modality.family.features(modality, records.inputs(modality, statistics))


class NearestRecord:
    """The training record nearest in what is observed; its other modalities are the prediction.

    The squared distance is the sum over the observed modalities of the mean squared difference of
    standardised features, so that every modality weighs the same.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        statistics: Mapping[str, Statistics],
        train: Records,
        scored: Records,
    ) -> None:
        """Measure the distances of each modality, (N, T) each."""
        self._train, self._count = train, len(scored)
        self._distance: dict[str, Array] = {}
        for modality in modalities:
            known = features(modality, statistics[modality.name], train)
            asked = features(modality, statistics[modality.name], scored)
            mean, scale = np.nanmean(known, axis=0), np.maximum(np.nanstd(known, axis=0), 1e-4)
            known, asked = (known - mean) / scale, (asked - mean) / scale
            square = (asked**2).sum(1)[:, None] + (known**2).sum(1)[None] - 2 * asked @ known.T
            self._distance[modality.name] = square / known.shape[1]

    def predict(self, modality: Modality, subset: Sequence[str]) -> Array:
        """Return what the nearest training record of each scored one holds, (N, *shape) in SI.

        Only training records that hold all of the subset and the modality are asked; without any
        there is no prediction, NaN.
        """
        known = np.flatnonzero(self._train.holding([*subset, modality.name]))
        if not len(known):
            return np.full((self._count, *modality.shape), np.nan, np.float32)
        total = np.asarray(sum(self._distance[name][:, known] for name in subset))
        return in_si(modality, self._train.prepared[modality.name][known[total.argmin(axis=1)]])
