"""Networks of the paper's image sets: 28 x 28 images, labels, attributes (Tables 3, 4 and 5).

Table 4 says "strides 4 and padding 2"; kernel 4, stride 2, padding 1 is the only reading that gives
its 7x7 features and a 28x28 output. Outputs are linear logits and carry no BatchNorm, since Swish
cannot go below -0.28. The paper's Table 4 label decoder is FC.512.Swish - FC.10, that of Table 3.
"""

from torch import Tensor, nn

from smvae_core.modality import Modality
from smvae_core.model.config import ImageNetwork, ModelConfig

#: Channels of the convolutions, Table 4.
CHANNELS = (64, 128)


class DigitEmbedding(nn.Sequential):
    """FC.D.Swish (Table 3), or Conv.64 - Conv.128 - FC.D, Swish after each (Table 4)."""

    def __init__(self, modality: Modality, config: ModelConfig, network: ImageNetwork) -> None:
        width = config.embedding_dim
        if network == "mlp":
            super().__init__(nn.Flatten(), nn.Linear(modality.size, width), nn.SiLU())
            return
        first, second = CHANNELS
        super().__init__(
            nn.Conv2d(modality.shape[0], first, 4, 2, 1),
            nn.SiLU(),
            nn.Conv2d(first, second, 4, 2, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(second * 7 * 7, width),
            nn.SiLU(),
        )


class DigitDecoder(nn.Sequential):
    """FC.D.Swish - FC.784 (Table 3), or FC.D - FC.128x7x7 - DeConv.64 - DeConv.1 (Table 4)."""

    def __init__(self, modality: Modality, config: ModelConfig, network: ImageNetwork) -> None:
        width = config.embedding_dim
        start = [nn.Linear(config.latent_dim, width), nn.SiLU()]
        if network == "mlp":
            unflatten = nn.Unflatten(1, modality.shape)
            super().__init__(*start, nn.Linear(width, modality.size), unflatten)
            return
        first, second = CHANNELS
        super().__init__(
            *start,
            nn.Linear(width, second * 7 * 7),
            nn.SiLU(),
            nn.Unflatten(1, (second, 7, 7)),
            nn.ConvTranspose2d(second, first, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(first, modality.shape[0], 4, 2, 1),
        )


class LabelEmbedding(nn.Sequential):
    """FC.D.Swish (Tables 3 and 4)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        super().__init__(nn.Linear(modality.shape[0], config.embedding_dim), nn.SiLU())


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
