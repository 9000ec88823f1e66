"""A bundle to measure with: the paper's robot model, untrained: accuracy does not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from smvae_core.model.config import ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import measure_statistics, prepare


def untrained(folder: Path) -> Path:
    """Export the untrained model (seed 0) to a folder that does not exist yet; return it."""
    torch.manual_seed(0)
    model = SMVAE(ModelConfig())
    statistics = {
        m.name: measure_statistics(
            m, np.stack([prepare(m, m.example_sample(seed)) for seed in range(8)])
        )
        for m in model.config.modalities
    }
    return export_bundle(model, statistics, folder, name="untrained")
