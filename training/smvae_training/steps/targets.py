"""Which targets of the data a model decodes, and where they lie in the training records.

N records, K numbers of a target.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Dataset, Target
from smvae_training.config import TrainConfig
from smvae_training.steps.self_supervised import computed_targets

#: Stands for every target that training records tell.
ALL = "all"


def with_targets(config: TrainConfig, data: Dataset, train: NDArray[np.int64]) -> TrainConfig:
    """Return the configuration with `model.targets` as `data` asks for them.

    Args:
        config: Of the run.
        data: All records, see `with_self_supervised`.
        train: Which of them are trained on.

    Raises:
        ConfigError: If the data have no target of a name, or no training record tells it.
    """
    wanted, train_targets = config.data.targets, _told(data, train)
    names = tuple(train_targets) if wanted == (ALL,) else wanted
    names = tuple(dict.fromkeys((*names, *computed_targets(config))))
    for name in names:
        _require(name, data, train_targets)
    declared = tuple(declare(name, train_targets[name]) for name in names)
    return replace(config, model=replace(config.model, targets=declared))


def _told(data: Dataset, train: NDArray[np.int64]) -> dict[str, Target]:
    """Return the training records of every target that two of them tell at least."""
    found = {name: target.take(train) for name, target in data.targets.items()}
    return {name: target for name, target in found.items() if target.known.sum() > 1}


def _require(name: str, data: Dataset, told: dict[str, Target]) -> None:
    if name not in data.targets:
        have = ", ".join(data.targets) or "none"
        raise ConfigError(
            f"--data.targets: the data have no '{name}', have {have}, or say '{ALL}'."
            f"{did_you_mean(name, data.targets)}"
        )
    if name not in told:
        raise ConfigError(f"--data.targets: fewer than two training records tell '{name}'")


def declare(name: str, target: Target) -> DecodedTarget:
    """Return the declaration of a target from its training records.

    A number that never changes gets the smallest deviation of the others that do, or 1.
    """
    known = np.asarray(target.values[target.known], np.float64)
    deviation = known.std(axis=0)
    varies = deviation > 1e-6 * np.maximum(np.abs(known).max(axis=0), 1e-6)
    deviation[~varies] = deviation[varies].min() if varies.any() else 1.0
    return DecodedTarget(
        name=name,
        mean=tuple(map(float, known.mean(axis=0))),
        deviation=tuple(map(float, deviation)),
        unit=target.unit,
        binary=target.binary,
        fields=target.fields,
        frame_id=target.frame_id,
        rule=target.rule,
    )
