"""What is compared on: the data sets with their budgets; `variants` has the methods.

Every method of an experiment gets the same records, networks, likelihoods, weights, batches,
optimiser steps and learning rate schedule; only its model, its objective and a learning rate tuned
on the validation share differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from benchmarks.paper.variants import ABLATED, COMPARED, METHODS, Variant
from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.modality import Modality
from smvae_core.presets import vision_tasks
from smvae_training.config import LogConfig, TrainConfig
from smvae_training.presets import preset

SEEDS = (0, 1, 2)
#: Candidates for every method, tried at a tenth of the budget.
LEARNING_RATES = (1e-4, 5e-4, 1e-3)
TUNING_SHARE = 0.1
#: Not what the machine at hand has: runs of one table may be made on several.
SINGLE_PRECISION = {"hardware": {"precision": "32"}}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One data set and the budget that every method gets on it."""

    name: str
    """Also the name in result files; binarised and grey data never share one."""
    title: str
    preset: str
    epochs: int
    test_items: int
    """Held-out items that are scored, evenly spaced."""
    kind: Literal["pairs", "subsets", "views"] = "pairs"
    """What is scored: an image and its label, every subset of a robot's modalities, or every subset
    of several images of one scene."""
    likelihood_items: int | None = None
    """Subsets: of the test items, those whose likelihoods are estimated; errors are of all."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the preset that the experiment replaces, by the field of TrainConfig."""
    samples: int = 1000
    """K of the importance sampling."""
    tuning_items: int = 500
    """Validation items that choose the learning rate."""
    tuning_samples: int = 100
    learning_rate: float | None = None
    """Of every method, instead of tuning."""
    methods: tuple[str, ...] = COMPARED
    """Of `METHODS`, in the order of the queue."""
    seeds: tuple[int, ...] = SEEDS

    def modalities(self) -> tuple[Modality, ...]:
        """Return what every method models."""
        return self.config(METHODS[self.methods[0]], seed=0, lr=1.0).model.modalities

    def config(self, method: Variant, *, seed: int, lr: float) -> TrainConfig:
        """Return the settings of one run."""
        start = preset(self.preset)
        for part, values in self.changes.items():
            start = replace(start, **{part: _changed(getattr(start, part), values)})
        model, objective = start.model, start.objective
        if method.pooling is not None:
            model = replace(model, pooling=method.pooling)
        if method.covariance is not None:
            model = replace(model, covariance=method.covariance)
        if method.target is not None:
            objective = replace(
                objective,
                target=method.target,
                second_bound="none",
                samples=1,
                complement=False,
            )
        return replace(
            start,
            model=model,
            objective=objective,
            optimizer=replace(start.optimizer, lr=lr),
            log=LogConfig(every=200, checkpoint_every=1000, tensorboard=False),
            epochs=self.epochs,
            max_steps=0,
            seed=seed,
        )


_ABLATION = Experiment(
    name="mnist-ablation",
    title="Set encoders and targets on binarised MNIST, a short budget",
    preset="mnist",
    epochs=5,
    test_items=500,
    samples=200,
    learning_rate=1e-3,
    methods=ABLATED,
)

_ROBOT = Experiment(
    name="simulated-robot",
    title="Simulated robot: RGB, depth, force, action",
    preset="vision_touch",
    kind="subsets",
    epochs=20,
    test_items=800,
    likelihood_items=100,
    samples=100,
    tuning_items=50,
    tuning_samples=20,
    changes={
        "batch_size": 100,
        "data": {"held_out": 0.2, "validation": 0.1},
        "model": {"base_channels": 16},
        "optimizer": {"warmup": 100},
        **SINGLE_PRECISION,
    },
)

_WITHOUT_LANDMARKS = tuple(m for m in vision_tasks() if m.source != "mask")

EXPERIMENTS = {
    e.name: e
    for e in (
        Experiment(
            name="mnist-binarised",
            title="MNIST, binarised, with labels",
            preset="mnist",
            epochs=40,
            test_items=2000,
        ),
        _ABLATION,
        replace(
            _ABLATION,
            name="mnist-ablation-long",
            title="The set encoders and targets in question, four times that budget",
            epochs=20,
            methods=(
                "paper-subset",
                "evidence-subset",
                "paper-joint",
                "evidence-joint",
                "evidence_attention-joint",
            ),
        ),
        Experiment(
            name="fashion-grey",
            title="Fashion-MNIST, grey levels, with labels",
            preset="fashion",
            epochs=20,
            test_items=500,
            changes=SINGLE_PRECISION,
            methods=(*COMPARED, "smvae-diagonal"),
        ),
        _ROBOT,
        replace(
            _ROBOT,
            name="simulated-robot-shared-noise",
            title="Before: one noise scale per modality; ours with the paper's encoder, S alone",
            changes={
                **_ROBOT.changes,
                "model": {"base_channels": 16, "decoded_noise": False, "pooling": "paper"},
                "objective": {"complement": False},
            },
            methods=("smvae", "mvae", "mopoe"),
            seeds=(0,),
        ),
        Experiment(
            name="simulated-robot-views",
            title="Computer-vision modalities of the simulated robot's frames",
            preset="vision_tasks",
            kind="views",
            epochs=20,
            test_items=400,
            likelihood_items=50,
            samples=50,
            learning_rate=5e-4,
            changes={"model": {"modalities": _WITHOUT_LANDMARKS}},
            methods=("smvae",),
            seeds=(0,),
        ),
    )
}

Entry = TypeVar("Entry")


def _changed(part: Any, values: Any) -> Any:
    return replace(part, **values) if isinstance(values, Mapping) else values


def lookup(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """Return an entry of one of the tables above.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in table:
        known = ", ".join(table)
        raise ConfigError(f"unknown {what} '{name}': have {known}.{did_you_mean(name, table)}")
    return table[name]
