"""Networks of 28 x 28 images (Tables 3 and 4).

Table 4 says "strides 4 and padding 2"; kernel 4, stride 2, padding 1 is the only reading that gives
its 7x7 features and a 28x28 output. Outputs are linear logits and carry no BatchNorm, since Swish
cannot go below -0.28.
"""

from torch import nn

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
