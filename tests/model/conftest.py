"""A small model of all kinds, built once per module."""

from __future__ import annotations

import pytest
import torch

from smvae_core.modality import vision_touch
from smvae_core.model import SMVAE, ModelConfig


def small_config(**changes: object) -> ModelConfig:
    values: dict = {
        "modalities": vision_touch(32),
        "latent_dim": 8,
        "embedding_dim": 32,
        "base_channels": 4,
    }
    return ModelConfig(**(values | changes))


@pytest.fixture
def model() -> SMVAE:
    torch.manual_seed(0)
    return SMVAE(small_config())


def example_batch(model: SMVAE, size: int) -> dict[str, torch.Tensor]:
    return {m.name: torch.from_numpy(m.example(size)) for m in model.config.modalities}


def presence(model: SMVAE, size: int, *subset: str) -> torch.Tensor:
    row = torch.tensor([name in subset for name in model.names])
    return row.repeat(size, 1)
