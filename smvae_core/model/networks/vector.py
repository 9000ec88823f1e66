"""Networks of vectors: commands, joint states, any numbers (Tables 8 and 9, action)."""

from torch import nn

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.networks.base import register


class VectorEmbedding(nn.Sequential):
    """FC.D.Swish - FC.D (Table 8, action)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        width = config.embedding_dim
        super().__init__(nn.Linear(modality.shape[0], width), nn.SiLU(), nn.Linear(width, width))


class VectorDecoder(nn.Sequential):
    """FC.D.Swish - FC.C, linear (Table 9, action)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        width = config.embedding_dim
        super().__init__(
            nn.Linear(config.latent_dim, width), nn.SiLU(), nn.Linear(width, modality.shape[0])
        )


for kind in ("command", "vector", "joint_state"):
    register(kind, VectorEmbedding, VectorDecoder)
