"""Held-out items of a run as network inputs, and which of them a picture shows.

N items, C classes or attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.preprocessing import Statistics, normalise
from smvae_datasets.dataset import Dataset
from smvae_training.evaluate.measures import descriptions, is_exclusive
from smvae_training.evaluate.records import spread


@dataclass(frozen=True, kw_only=True)
class Items:
    """Some records as the network reads them."""

    modalities: tuple[Modality, ...]
    inputs: dict[str, Tensor]
    """Modality -> (N, *shape) float32."""
    index: NDArray[np.int64]
    """(N,) of the prepared records."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.modalities)

    def take(self, rows: NDArray[np.int64]) -> Items:
        chosen = torch.from_numpy(rows)
        inputs = {name: x[chosen] for name, x in self.inputs.items()}
        return Items(modalities=self.modalities, inputs=inputs, index=self.index[rows])

    def first(self, count: int) -> Items:
        """Return at most `count`, evenly spaced, in order."""
        return self.take(spread(np.arange(len(self)), count))

    def classes(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return the class (N,) of every item and the names of the classes.

        Of attributes, the one nearest to being present in half of the items makes two classes.

        Raises:
            ConfigError: If there is neither a label nor attributes.
        """
        modality = described_by(self.modalities)
        values = self.inputs[modality.name].numpy()
        fields = field_names(modality)
        if is_exclusive(modality):
            return values.argmax(axis=1).astype(np.int64), fields
        best = int(np.abs(values.mean(axis=0) - 0.5).argmin())
        return values[:, best].round().astype(np.int64), (f"not {fields[best]}", fields[best])

    def one_of_each_class(self, count: int) -> Items:
        """Return the first item of each class, then the second of each, until there are `count`."""
        member, _ = self.classes()
        seen: dict[int, int] = {}
        rank = np.empty(len(member), np.int64)
        for row, c in enumerate(member.tolist()):
            rank[row] = seen[c] = seen.get(c, -1) + 1
        return self.take(np.lexsort((member, rank))[:count])


def described_by(modalities: tuple[Modality, ...]) -> Modality:
    """Return the label or the attributes.

    Raises:
        ConfigError: If there is neither.
    """
    for modality in descriptions(modalities):
        return modality
    names = ", ".join(m.name for m in modalities)
    raise ConfigError(f"a label or attributes are needed to tell classes, the model has {names}")


def field_names(modality: Modality) -> tuple[str, ...]:
    """Return the names of classes or attributes; numbers where none are declared."""
    return modality.fields or tuple(map(str, range(modality.shape[0])))


def read_items(
    modalities: tuple[Modality, ...],
    statistics: Mapping[str, Statistics],
    records: Dataset,
    index: NDArray[np.int64],
) -> Items:
    """Return the records `index` as network inputs."""
    inputs = {
        m.name: torch.from_numpy(normalise(m, statistics[m.name], records.arrays[m.name][index]))
        for m in modalities
    }
    return Items(modalities=modalities, inputs=inputs, index=index)
