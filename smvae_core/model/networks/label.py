"""Networks of labels (Tables 3 and 4); both decoders are FC.512.Swish - FC.10, linear logits."""

from torch import nn

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.networks.base import register
from smvae_core.model.networks.vector import VectorDecoder


class LabelEmbedding(nn.Sequential):
    """FC.D.Swish (Tables 3 and 4)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        super().__init__(nn.Linear(modality.shape[0], config.embedding_dim), nn.SiLU())


register("label", LabelEmbedding, VectorDecoder)
