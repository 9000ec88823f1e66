"""Models and records of one size: small networks, as preset `demo` and `robot` choose them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from smvae_core.kinds.signal import SignalOptions
from smvae_core.modality import Modality
from smvae_core.model.config import MemoryConfig, ModelConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics, measure_statistics, prepare
from smvae_core.presets import vision_touch
from smvae_datasets.dataset import ArrayDataset
from smvae_training.config import ContextConfig, HardwareConfig, LogConfig, TrainConfig
from smvae_training.presets import demo

#: Records per second, and episodes, of what is trained on.
RATE_HZ, EPISODES = 20, 4
BATCH = 16
#: What each sensor is embedded into, and the latent, where they are not what grows.
EMBEDDING, LATENT = 128, 64


def wrenches(count: int) -> tuple[Modality, ...]:
    """Return so many equal windows of force readings."""
    fields = ("force.x", "force.y", "force.z", "torque.x", "torque.y", "torque.z")
    options = SignalOptions(rate_hz=1000.0, below="wrench")
    return tuple(
        Modality(
            name=f"wrench{i}", kind="signal", shape=(6, 32), unit="N, N m", fields=fields,
            options=options,
        )
        for i in range(count)
    )  # fmt: skip


def camera(side: int) -> tuple[Modality, ...]:
    """Return a colour camera of so many pixels a side."""
    return vision_touch(side)[:1]


def model_config(sensors: Sequence[Modality], **changed: Any) -> ModelConfig:
    """Return a model whose precisions add, as of many sensors."""
    model = ModelConfig(
        modalities=tuple(sensors),
        latent_dim=LATENT,
        embedding_dim=EMBEDDING,
        base_channels=8,
        pooling="evidence",
        decoded_noise=True,
    )
    return replace(model, **changed)


def training_config(model: ModelConfig, steps: int, elements: int = 0) -> TrainConfig:
    """Return settings of a short run in float32; with a memory, of so many `elements` a sensor."""
    like = demo()
    if elements:
        model = replace(model, memory=MemoryConfig(horizon_s=1.5 * elements / RATE_HZ))
    return replace(
        like,
        model=model,
        data=replace(like.data, targets=(), held_out=0.25),
        context=ContextConfig(
            match=1.0, tune=1.0, match_batches=1, share=1.0, history_s=1.0, thinning=1.0,
            absent=0.0, alone=0.0, elements=max(elements, 1),
        ),
        optimizer=replace(like.optimizer, warmup=0),
        hardware=HardwareConfig(precision="32", accelerator="cpu"),
        log=LogConfig(every=10**6, checkpoint_every=0, tensorboard=False),
        batch_size=BATCH,
        max_steps=steps,
    )  # fmt: skip


def records(sensors: Sequence[Modality], count: int) -> ArrayDataset:
    """Return examples of the sensors as a few episodes of equal length."""
    variety = {
        m.name: np.stack([prepare(m, m.example_sample(seed)) for seed in range(16)])
        for m in sensors
    }
    drawn = np.random.default_rng(0).integers(0, 16, count)
    return ArrayDataset(
        sensors=tuple(sensors),
        arrays={name: x[drawn] for name, x in variety.items()},
        group=(np.arange(count) * EPISODES // count).astype(np.int32),
        group_names=tuple(f"t{i}" for i in range(EPISODES)),
        stamp_ns=np.arange(count, dtype=np.int64) * (10**9 // RATE_HZ),
    )


def untrained(model: ModelConfig) -> tuple[SMVAE, dict[str, Statistics]]:
    """Return a model with its first weights, and statistics of examples: costs are the same."""
    torch.manual_seed(0)
    statistics = {
        m.name: measure_statistics(
            m, np.stack([prepare(m, m.example_sample(seed)) for seed in range(4)])
        )
        for m in model.modalities
    }
    return SMVAE(model).eval(), statistics
