"""The settings of figures made before preset `demo` had small networks, targets and 5,000 steps."""

from __future__ import annotations

from dataclasses import replace

from smvae_core.model.config import ModelConfig
from smvae_training.config import TrainConfig
from smvae_training.presets import demo


def full_networks() -> TrainConfig:
    """Return preset `demo` with the networks of full size, no targets, 2,500 steps."""
    config = demo()
    data = replace(config.data, targets=())
    return replace(config, model=ModelConfig(), data=data, max_steps=2500)
