"""Networks of attributes (Table 5)."""

from torch import Tensor, nn

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.networks.base import register


class AttributesEmbedding(nn.Sequential):
    """FC.D.BN.Swish twice, FC.D.BN (Table 5)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        width = config.embedding_dim
        super().__init__(
            *_dense(modality.shape[0], width),
            *_dense(width, width),
            *_dense(width, width)[:2],
        )


class AttributesDecoder(nn.Sequential):
    """FC.D.BN.Swish three times, FC.C, linear (Table 5)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        width = config.embedding_dim
        super().__init__(
            *_dense(config.latent_dim, width),
            *_dense(width, width),
            *_dense(width, width),
            nn.Linear(width, modality.shape[0]),
        )


def _dense(a: int, b: int) -> list[nn.Module]:
    return [nn.Linear(a, b, bias=False), RowNorm(b), nn.SiLU()]


class RowNorm(nn.BatchNorm1d):
    """BatchNorm that can train on one row, as where one record of a batch has the modality.

    One row has no spread: it is normalised by the running statistics, which it does not change.
    Two rows or more are plain BatchNorm.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or len(x) > 1:
            return super().forward(x)
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


register("attributes", AttributesEmbedding, AttributesDecoder)
