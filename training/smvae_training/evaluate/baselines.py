"""What a model must beat: the training mean, and the nearest training record.

N scored records, T training records, F features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_core.preprocessing import Statistics
from smvae_datasets.dataset import Dataset, holding
from smvae_training.evaluate.measures import features_of, images, measured
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
    array = episodes.arrays[modality.name]
    parts = np.array_split(index[rows], max(1, len(rows) // 500))
    mean, variance = mean_and_variance(modality, (in_si(modality, array[part]) for part in parts))
    varying = None
    if images([modality]):
        spread = variance.sum(axis=0)
        varying = spread >= np.quantile(spread, 1.0 - VARYING_SHARE)
    return TrainingMean(mean=mean[None].astype(np.float32), varying=varying, records=len(rows))


def mean_and_variance(
    modality: Modality, parts: Iterable[Array]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both (*shape) over samples in SI units, part by part, of what was measured."""
    total, squares, count = (np.zeros(modality.shape) for _ in range(3))
    for x in parts:
        seen = measured(modality, x)
        total += np.where(seen, x, 0).sum(axis=0, dtype=np.float64)
        squares += np.where(seen, x * x, 0).sum(axis=0, dtype=np.float64)
        count += seen.sum(axis=0)
    mean = total / np.maximum(count, 1)
    return mean, squares / np.maximum(count, 1) - mean**2


def features(modality: Modality, statistics: Statistics, records: Records) -> Array:
    """Return (N, F) low-dimensional features: averaged pixels, averaged moments, or the vector."""
    return features_of(modality, records.inputs(modality, statistics))


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
        self._summed: tuple[tuple[str, ...], Array] = (), np.zeros((0, 0), np.float32)
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
        rows = known[self._total(tuple(subset))[:, known].argmin(axis=1)]
        return in_si(modality, self._train.prepared[modality.name][rows])

    def _total(self, subset: tuple[str, ...]) -> Array:
        """Return the distances (N, T) of a subset, kept until another one is asked for."""
        if self._summed[0] != subset:
            self._summed = subset, np.asarray(sum(self._distance[name] for name in subset))
        return self._summed[1]
