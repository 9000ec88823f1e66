"""Preset `demo` with networks of another size.

Of full size: the settings of figures made before it had small networks, targets and 5,000 steps.
"""

from __future__ import annotations

from dataclasses import replace

from smvae_core.model.config import ModelConfig
from smvae_core.presets import vision_touch
from smvae_training.config import TrainConfig
from smvae_training.presets import demo


def full_networks() -> TrainConfig:
    """Return preset `demo` with the networks of full size, no targets, 2,500 steps."""
    config = demo()
    data = replace(config.data, targets=())
    return replace(config, model=ModelConfig(), data=data, max_steps=2500)


def small_networks() -> TrainConfig:
    """Return preset `demo` with small networks on images of 32 pixels, as the page of assistance.

    docs/shared_autonomy.md trains so.
    """
    config = demo()
    model = replace(config.model, modalities=vision_touch(32), base_channels=8, embedding_dim=128)
    return replace(config, model=model)
