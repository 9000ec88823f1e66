"""Networks of windows of readings: causal convolutions over time (Tables 8 and 9).

B batch, C channels, T readings, D embedding, Z latent.
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.networks.base import register

#: Channels of the causal convolutions, Table 8.
CHANNELS = (16, 32, 64, 128)


class CausalConv1d(nn.Module):
    """Strided convolution over time whose output t reads no input after the end of its own stride.

    Kernel 2, stride 2 as in Lee et al.'s code, but padded by kernel - stride on the left instead of
    kernel - 1: theirs shifts every window by one, so that the newest reading is never read.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 2, stride: int = 2
    ) -> None:
        super().__init__()
        self.padding = kernel - stride
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, stride)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B K T2"]:
        return self.conv(nn.functional.pad(x, (self.padding, 0)))


class SignalEmbedding(nn.Sequential):
    """CausalConv1D.16 - 32 - 64 - 128, Swish between, FC.D (Table 8)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        in_channels, length = modality.shape
        layers: list[nn.Module] = []
        for a, b in pairwise((in_channels, *CHANNELS)):
            layers += [CausalConv1d(a, b), nn.SiLU()]
        features = CHANNELS[-1] * (length // 2 ** len(CHANNELS))
        super().__init__(*layers, nn.Flatten(), nn.Linear(features, config.embedding_dim))


class SignalDecoder(nn.Sequential):
    """FC.128x2.Swish - DeConv1D.64 - 32 - 16 (Swish) - DeConv1D.C, linear (Table 9)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        out_channels, length = modality.shape
        channels = CHANNELS[::-1]
        start = length // 2 ** len(channels)
        layers: list[nn.Module] = [
            nn.Linear(config.latent_dim, channels[0] * start),
            nn.SiLU(),
            nn.Unflatten(1, (channels[0], start)),
        ]
        for i, (a, b) in enumerate(pairwise([*channels, out_channels])):
            layers.append(nn.ConvTranspose1d(a, b, 4, 2, 1))
            if i < len(channels) - 1:
                layers.append(nn.SiLU())
        super().__init__(*layers)


register("signal", SignalEmbedding, SignalDecoder)
