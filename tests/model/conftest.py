"""A small model of all kinds, built once per module."""

from __future__ import annotations

import pytest
import torch

from smvae_core.modality import all_subsets
from smvae_core.model import SMVAE, ModelConfig
from smvae_core.model.set_encoder import SetEncoder
from smvae_core.preprocessing import Statistics
from smvae_core.presets import vision_touch

#: Every non-empty subset of four modalities.
PRESENT = torch.tensor([[n in s for n in "abcd"] for s in all_subsets("abcd")])


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


def example_encoder(seed: int = 0, **changes: object) -> SetEncoder:
    """Return an encoder whose every parameter is drawn, so that none starts at zero."""
    torch.manual_seed(seed)
    encoder = SetEncoder(small_config(**changes))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return encoder


def example_statistics(model: SMVAE) -> dict[str, Statistics]:
    return {
        m.name: Statistics()
        if m.is_image
        else Statistics(mean=(0.1,) * m.shape[0], scale=(2.0,) * m.shape[0])
        for m in model.config.modalities
    }


def added_pairs() -> list[tuple[int, int]]:
    """Return the rows of PRESENT (S, S + one) of every subset S and every modality outside it."""
    return [
        (i, j)
        for i, small in enumerate(PRESENT)
        for j, large in enumerate(PRESENT)
        if bool((small <= large).all()) and int(large.sum() - small.sum()) == 1
    ]
