"""The records that are scored, and the training records that baselines and probes may use.

N records, M modality. What a record does not hold is NaN, and no score counts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, option
from smvae_core.modality import Modality
from smvae_core.preprocessing import Statistics, in_si, normalise
from smvae_datasets.dataset import Dataset, Target
from smvae_training.config import check_seed

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How much is scored; the defaults take about a minute on two cores."""

    max_records: int = 800
    """At most this many held-out records, every k-th, for errors, ratios and probes."""
    likelihood_records: int = 100
    """Of these, every k-th for likelihoods (decoded `samples` times per subset) and SSIM."""
    samples: int = 16
    """Draws from q(z given x_S) for E_q[log p(x_m given z)]."""
    train_records: int = 4000
    """At most this many training records, every k-th, for nearest neighbours and probes."""
    mean_records: int = 20000
    """At most this many training records, every k-th, for the mean image and its variance."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        for name in self.__dataclass_fields__:
            if name != "seed" and getattr(self, name) < 1:
                raise ConfigError(f"{option(name)} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Records:
    """Some records of a data set, in memory."""

    prepared: Mapping[str, NDArray[Any]]
    """Modality -> (N, *shape), as `preprocessing.prepare` returns."""
    group: NDArray[np.int32]
    """(N,) trajectory, or part of a data set."""
    recorded: NDArray[np.bool_] | None = None
    """(N, M) True where the record holds the modality, in the order of `prepared`; None: all."""
    targets: Mapping[str, Target] = field(default_factory=dict)
    every: int = 1
    """Every how many records one was taken."""

    @classmethod
    def of(cls, data: Dataset, index: NDArray[np.int64], limit: int) -> Records:
        """Return every k-th of the records `index` of a data set, at most `limit`."""
        rows, every = thin(len(index), limit)
        chosen = index[rows]
        return cls(
            prepared={m.name: np.asarray(data.arrays[m.name][chosen]) for m in data.sensors},
            group=data.group[chosen],
            recorded=data.recorded[chosen],
            targets={name: t.take(chosen) for name, t in data.targets.items()},
            every=every,
        )

    def __len__(self) -> int:
        return len(self.group)

    def inputs(self, modality: Modality, statistics: Statistics) -> Array:
        """Return network inputs (N, *shape)."""
        return self._held(modality, normalise(modality, statistics, self.prepared[modality.name]))

    def truth(self, modality: Modality) -> Array:
        """Return what reconstructions are compared with, in SI units; colour in [0, 1]."""
        return self._held(modality, in_si(modality, self.prepared[modality.name]))

    def holding(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return which records (N,) hold all of these modalities."""
        if self.recorded is None:
            return np.ones(len(self), bool)
        columns = [list(self.prepared).index(name) for name in names]
        return np.asarray(self.recorded[:, columns].all(axis=1))

    def _held(self, modality: Modality, values: Array) -> Array:
        held = self.holding([modality.name])
        if held.all():
            return values
        shape = (-1,) + (1,) * (values.ndim - 1)
        return np.where(held.reshape(shape), values, np.float32(np.nan))

    def take(self, rows: NDArray[np.int64], every: int) -> Records:
        return Records(
            prepared={name: a[rows] for name, a in self.prepared.items()},
            group=self.group[rows],
            recorded=None if self.recorded is None else self.recorded[rows],
            targets={name: t.take(rows) for name, t in self.targets.items()},
            every=every,
        )


def thin(count: int, limit: int) -> tuple[NDArray[np.int64], int]:
    """Return every k-th of `count` rows, k the smallest that leaves at most `limit`, and k."""
    every = max(1, -(-count // limit))
    return np.arange(0, count, every, dtype=np.int64), every


def spread(index: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return at most `count` of the records `index`, evenly spaced."""
    wanted = min(count, len(index))
    return index[np.arange(wanted, dtype=np.int64) * len(index) // max(wanted, 1)]
