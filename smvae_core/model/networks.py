"""Embedding networks and decoders of the robot's kinds, and the choice by kind (Tables 8 and 9).

The paper gives no kernel, stride or padding; these are the only ones that give its 256x5x5 features
and 64x64 images: (4, 2, 1) three times, then (4, 1, 0), mirrored in the decoder. Swish is torch's
SiLU. Decoder outputs are linear: a Swish there could not draw black.

B batch, D embedding, Z latent, C channels, T readings.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smvae_core.bundle import LARGEST_LOG_NOISE
from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.image_set_networks import (
    AttributesDecoder,
    AttributesEmbedding,
    DigitDecoder,
    DigitEmbedding,
    LabelEmbedding,
)

#: Channels of the causal convolutions, Table 8.
FORCE_CHANNELS = (16, 32, 64, 128)


def image_channels(side: int, base: int) -> list[int]:
    """Return output channels of the image convolutions: one more halving per doubling of the side.

    Side 64 gives the paper's 32, 64, 128, 256 at base 32; every side ends at 8 * base maps of 5x5.
    """
    halvings = {32: 2, 64: 3, 128: 4}[side]
    return [8 * base >> (halvings - i) for i in range(halvings)] + [8 * base]


class ImageEmbedding(nn.Sequential):
    """Conv.32 - Conv.64.BN - Conv.128.BN - Conv.256.BN - FC.D, Swish after each (Table 8)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        in_channels, side, _ = modality.shape
        channels = image_channels(side, config.base_channels)
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels[0], 4, 2, 1), nn.SiLU()]
        for i, (a, b) in enumerate(pairwise(channels)):
            stride, padding = (1, 0) if i == len(channels) - 2 else (2, 1)
            layers += [
                nn.Conv2d(a, b, 4, stride, padding, bias=False),
                nn.BatchNorm2d(b),
                nn.SiLU(),
            ]
        features = channels[-1] * 5 * 5
        layers += [nn.Flatten(), nn.Linear(features, config.embedding_dim), nn.SiLU()]
        super().__init__(*layers)


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


class ForceEmbedding(nn.Sequential):
    """CausalConv1D.16 - 32 - 64 - 128, Swish between, FC.D (Table 8)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        in_channels, length = modality.shape
        layers: list[nn.Module] = []
        for a, b in pairwise((in_channels, *FORCE_CHANNELS)):
            layers += [CausalConv1d(a, b), nn.SiLU()]
        features = FORCE_CHANNELS[-1] * (length // 2 ** len(FORCE_CHANNELS))
        super().__init__(*layers, nn.Flatten(), nn.Linear(features, config.embedding_dim))


class VectorEmbedding(nn.Sequential):
    """FC.D.Swish - FC.D (Table 8, action)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        width = config.embedding_dim
        super().__init__(nn.Linear(modality.shape[0], width), nn.SiLU(), nn.Linear(width, width))


class ImageDecoder(nn.Sequential):
    """FC.256x5x5.Swish - DeConv.128 - 64 - 32 (Swish) - DeConv.C, linear (Table 9)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        out_channels, side, _ = modality.shape
        channels = image_channels(side, config.base_channels)[::-1]
        layers: list[nn.Module] = [
            nn.Linear(config.latent_dim, channels[0] * 5 * 5),
            nn.SiLU(),
            nn.Unflatten(1, (channels[0], 5, 5)),
        ]
        for i, (a, b) in enumerate(pairwise([*channels, out_channels])):
            stride, padding = (1, 0) if i == 0 else (2, 1)
            layers.append(nn.ConvTranspose2d(a, b, 4, stride, padding))
            if i < len(channels) - 1:
                layers.append(nn.SiLU())
        super().__init__(*layers)


class ForceDecoder(nn.Sequential):
    """FC.128x2.Swish - DeConv1D.64 - 32 - 16 (Swish) - DeConv1D.C, linear (Table 9)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        out_channels, length = modality.shape
        channels = FORCE_CHANNELS[::-1]
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


class VectorDecoder(nn.Sequential):
    """FC.D.Swish - FC.C, linear (Table 9, action)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        width = config.embedding_dim
        super().__init__(
            nn.Linear(config.latent_dim, width), nn.SiLU(), nn.Linear(width, modality.shape[0])
        )


class NoisyDecoder(nn.Module):
    """A Gaussian's decoder and, as one channel more, log s(z): its noise scale over the shared one.

    log s(z) = L tanh(w . z / L), w from zero, L = `LARGEST_LOG_NOISE`. The output (B, C + 1, ...)
    is taken apart by `distributions.log_likelihood` and `likelihood_mean`; float32, as likelihoods
    are everywhere.
    """

    def __init__(self, decoder: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.log_noise = nn.Linear(latent_dim, 1, bias=False)
        nn.init.zeros_(self.log_noise.weight)

    def forward(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B ..."]:
        mean = self.decoder(z).float()
        with torch.autocast(z.device.type, enabled=False):
            log_noise = LARGEST_LOG_NOISE * torch.tanh(
                self.log_noise(z.float()) / LARGEST_LOG_NOISE
            )
        column = log_noise.view(-1, *[1] * (mean.dim() - 1)).expand(-1, 1, *mean.shape[2:])
        return torch.cat([mean, column], dim=1)


Network = Callable[[Modality, ModelConfig], nn.Module]


def image_embedding(modality: Modality, config: ModelConfig) -> nn.Module:
    """Return the embedding network of an image by its side: Tables 5 to 9, or 3 or 4 at 28."""
    if modality.shape[1] != 28:
        return ImageEmbedding(modality, config)
    return DigitEmbedding(modality, config, config.image_network)


def image_decoder(modality: Modality, config: ModelConfig) -> nn.Module:
    """Return the decoder of an image by its side: Tables 5 to 9, or 3 or 4 at 28."""
    if modality.shape[1] != 28:
        return ImageDecoder(modality, config)
    return DigitDecoder(modality, config, config.image_network)


EMBEDDINGS: dict[str, Network] = {
    "color_image": image_embedding,
    "depth_image": image_embedding,
    "grey_image": image_embedding,
    "force_window": ForceEmbedding,
    "vector": VectorEmbedding,
    "label": LabelEmbedding,
    "attributes": AttributesEmbedding,
}
DECODERS: dict[str, Network] = {
    "color_image": image_decoder,
    "depth_image": image_decoder,
    "grey_image": image_decoder,
    "force_window": ForceDecoder,
    "vector": VectorDecoder,
    "label": VectorDecoder,
    "attributes": AttributesDecoder,
}


def decoder(modality: Modality, config: ModelConfig) -> nn.Module:
    """Return the decoder of a modality, with its noise scale where the configuration asks."""
    network = DECODERS[modality.kind](modality, config)
    if config.decoded_noise and modality.likelihood == "gaussian":
        return NoisyDecoder(network, config.latent_dim)
    return network
