"""Scores of a trained method on records that it has not seen, the same for every method.

N items, M modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.paper.device import choose_device
from benchmarks.paper.experiments import Experiment
from benchmarks.paper.subset_scores import score_subsets
from smvae_core.preprocessing import Statistics
from smvae_datasets.dataset import Dataset
from smvae_datasets.splits import Split
from smvae_training.evaluate.images.items import read_items
from smvae_training.evaluate.likelihood.calibration import calibrate
from smvae_training.evaluate.likelihood.checks import sanity_checks
from smvae_training.evaluate.likelihood.coherence import (
    Classifier,
    measure_coherence,
    train_classifier,
)
from smvae_training.evaluate.likelihood.entropy import posterior_entropies
from smvae_training.evaluate.likelihood.estimate import EstimateConfig, estimate
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.subsets import SubsetConfig, subset_likelihoods
from smvae_training.evaluate.records import spread

#: Per-item values kept for paired differences.
KEPT = ("index", "joint", "marginal", "conditional")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Everything that was measured of one run."""

    numbers: dict[str, Any]
    """For the JSON."""
    items: dict[str, NDArray[Any]]
    """(N,) each, for paired differences."""
    noise_scale: dict[str, float]


def judge_of(experiment: Experiment, records: Dataset, parts: Split, path: Path) -> Classifier:
    """Return the classifier that judges generated images, trained once for all methods.

    It reads grey levels, never what a method has drawn, and is tested on validation records.
    """
    if path.is_file():
        return Classifier.load(path, choose_device())

    def pairs(index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        pixels, label = (records.arrays[name][index] for name in ("image", "label"))
        return torch.from_numpy(pixels).float() / 255.0, torch.from_numpy(label.argmax(axis=1))

    judge = train_classifier(*pairs(parts.train), *pairs(parts.validation), device=choose_device())
    path.parent.mkdir(parents=True, exist_ok=True)
    judge.save(path)
    return judge


def score(
    experiment: Experiment,
    method: Method,
    statistics: Mapping[str, Statistics],
    records: Dataset,
    parts: Split,
    folder: Path,
) -> Scored:
    """Score a trained method on held-out records.

    Args:
        experiment: Says how much.
        method: In evaluation mode.
        statistics: Of its training split.
        records: Of the data set.
        parts: Its split.
        folder: Where the classifier that judges generated images is kept for all methods.
    """
    index = spread(parts.held_out, experiment.test_items)
    data = read_items(method.modalities, statistics, records, index).inputs
    noise_scale = method.noise_scale()
    if experiment.kind != "pairs":
        settings = SubsetConfig(samples=experiment.samples, items=experiment.likelihood_items)
        # an image set's groups are its splits
        robot = experiment.kind == "subsets"
        groups = records.group[index] if robot else np.arange(len(index), dtype=np.int32)
        numbers, items = score_subsets(method, data, groups, settings)
        return Scored(numbers=numbers, items=items, noise_scale=noise_scale)
    judge = judge_of(experiment, records, parts, folder / "classifier.pt")
    config = EstimateConfig(samples=experiment.samples)
    found = estimate(method, data, config, device=choose_device())
    checks = sanity_checks(found, require=True)
    entropies = posterior_entropies(method, data, device=choose_device())
    numbers = {
        "likelihoods": found.to_json(),
        "checks": checks,
        "labels": calibrate(method, data, device=choose_device()).to_json(),
        "entropies": entropies.to_json(),
        "coherence": measure_coherence(method, judge, device=choose_device()).to_json(),
    }
    return Scored(
        numbers=numbers,
        items={k: v for k, v in found.arrays().items() if k.rpartition("/")[2] in KEPT},
        noise_scale=noise_scale,
    )


def validation_score(
    experiment: Experiment,
    method: Method,
    statistics: Mapping[str, Statistics],
    records: Dataset,
    index: NDArray[np.int64],
) -> float:
    """Return what chooses a learning rate, on validation records, with few samples.

    Pairs: mean log p(x,y). Subsets: the mean predictive log likelihood of all modalities over the
    subsets that every method can encode, singletons and the full set.
    """
    index = spread(index, experiment.tuning_items)
    data = read_items(method.modalities, statistics, records, index).inputs
    if experiment.kind != "pairs":
        subsets = [(name,) for name in method.names] + [method.names]
        settings = SubsetConfig(samples=experiment.tuning_samples)
        likelihoods = subset_likelihoods(
            method, data, settings, subsets=subsets, device=choose_device()
        )
        return float(np.mean([s.predictive.mean() for s in likelihoods.subsets.values()]))
    config = EstimateConfig(samples=experiment.tuning_samples, prior_samples=500)
    found = estimate(method, data, config, device=choose_device())
    return float(next(iter(found.proposals.values())).joint.mean())
