"""Scores of a trained method on records that it has not seen, the same for every method.

N items, M modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.device import choose_device
from benchmarks.experiments import Experiment
from benchmarks.subset_scores import score_subsets
from smvae_core.preprocessing import Statistics, normalise
from smvae_datasets.records import PreparedRecords
from smvae_training.likelihood.checks import sanity_checks
from smvae_training.likelihood.estimate import EstimateConfig, estimate
from smvae_training.likelihood.method import Method
from smvae_training.likelihood.subsets import SubsetConfig, subset_likelihoods

#: Per-item values kept for paired differences.
KEPT = ("joint", "marginal", "conditional")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Everything that was measured of one run."""

    numbers: dict[str, Any]
    """For the JSON."""
    items: dict[str, NDArray[Any]]
    """(N,) each, for paired differences."""
    noise_scale: dict[str, float]


def inputs(
    method: Method,
    statistics: Mapping[str, Statistics],
    records: PreparedRecords,
    index: NDArray[np.int64],
) -> dict[str, Tensor]:
    """Return network inputs (N, *shape) of some records."""
    return {
        m.name: torch.from_numpy(normalise(m, statistics[m.name], records.arrays[m.name][index]))
        for m in method.modalities
    }


def thin(index: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return at most `limit` records, evenly spaced."""
    count = min(limit, len(index))
    return index[np.arange(count) * len(index) // max(count, 1)]


def score(
    experiment: Experiment,
    method: Method,
    statistics: Mapping[str, Statistics],
    records: PreparedRecords,
    index: NDArray[np.int64],
) -> Scored:
    """Score a trained method on held-out records `index`."""
    index = thin(index, experiment.test_items)
    data = inputs(method, statistics, records, index)
    noise_scale = method.noise_scale() if hasattr(method, "noise_scale") else {}
    if experiment.kind == "subsets":
        settings = SubsetConfig(samples=experiment.samples, items=experiment.likelihood_items)
        numbers, items = score_subsets(method, data, records.group[index], settings)
        return Scored(numbers=numbers | {"checks": []}, items=items, noise_scale=noise_scale)
    config = EstimateConfig(samples=experiment.samples)
    found = estimate(method, data, config, device=choose_device())
    checks = sanity_checks(found, require=True)
    return Scored(
        numbers={"likelihoods": found.to_json(), "checks": checks},
        items={k: v for k, v in found.arrays().items() if k.rpartition("/")[2] in KEPT},
        noise_scale=noise_scale,
    )


def validation_score(
    experiment: Experiment,
    method: Method,
    statistics: Mapping[str, Statistics],
    records: PreparedRecords,
    index: NDArray[np.int64],
) -> float:
    """Return what chooses a learning rate, on validation records, with few samples.

    Pairs: mean log p(x,y). Robot: the mean predictive log likelihood of all modalities over the
    subsets that every method can encode, singletons and the full set.
    """
    index = thin(index, experiment.tuning_items)
    data = inputs(method, statistics, records, index)
    if experiment.kind == "subsets":
        subsets = [(name,) for name in method.names] + [method.names]
        settings = SubsetConfig(samples=experiment.tuning_samples)
        likelihoods = subset_likelihoods(
            method, data, settings, subsets=subsets, device=choose_device()
        )
        return float(np.mean([s.predictive.mean() for s in likelihoods.subsets.values()]))
    config = EstimateConfig(samples=experiment.tuning_samples, prior_samples=500)
    found = estimate(method, data, config, device=choose_device())
    return float(next(iter(found.proposals.values())).joint.mean())
