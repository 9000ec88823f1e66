"""Networks of images, by their size: Tables 5 to 9, or 3 or 4 at 28 x 28.

The paper gives no kernel, stride or padding; these are the only ones that give its 256x5x5 features
and 64x64 images: (4, 2, 1) three times, then (4, 1, 0), mirrored in the decoder. Swish is torch's
SiLU. Decoder outputs are linear: a Swish there could not draw black.

D embedding, Z latent, C channels, H x W of the image.
"""

import math
from itertools import pairwise

from torch import nn

from smvae_core.kinds.image import HALVINGS
from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.networks.base import register
from smvae_core.model.networks.digits import DigitDecoder, DigitEmbedding


def image_channels(side: int, base: int) -> list[int]:
    """Return output channels of the image convolutions: one more halving per doubling of the side.

    Side 64 gives the paper's 32, 64, 128, 256 at base 32; every shorter side ends at 8 * base maps
    of 5 rows.
    """
    halvings = HALVINGS[side]
    return [8 * base >> (halvings - i) for i in range(halvings)] + [8 * base]


def _last_map(modality: Modality) -> tuple[int, int]:
    """Return height and width of the last feature map: 5 x 5 of a square."""
    _, height, width = modality.shape
    factor = 2 ** HALVINGS[min(height, width)]
    return height // factor - 3, width // factor - 3


class ImageEmbedding(nn.Sequential):
    """Conv.32 - Conv.64.BN - Conv.128.BN - Conv.256.BN - FC.D, Swish after each (Table 8)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        in_channels, *sides = modality.shape
        channels = image_channels(min(sides), config.base_channels)
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels[0], 4, 2, 1), nn.SiLU()]
        for i, (a, b) in enumerate(pairwise(channels)):
            stride, padding = (1, 0) if i == len(channels) - 2 else (2, 1)
            layers += [
                nn.Conv2d(a, b, 4, stride, padding, bias=False),
                nn.BatchNorm2d(b),
                nn.SiLU(),
            ]
        height, width = _last_map(modality)
        features = channels[-1] * height * width
        layers += [nn.Flatten(), nn.Linear(features, config.embedding_dim), nn.SiLU()]
        super().__init__(*layers)


class ImageDecoder(nn.Sequential):
    """FC.256x5x5.Swish - DeConv.128 - 64 - 32 (Swish) - DeConv.C, linear (Table 9)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        out_channels, *sides = modality.shape
        channels = image_channels(min(sides), config.base_channels)[::-1]
        start = (channels[0], *_last_map(modality))
        layers: list[nn.Module] = [
            nn.Linear(config.latent_dim, math.prod(start)),
            nn.SiLU(),
            nn.Unflatten(1, start),
        ]
        for i, (a, b) in enumerate(pairwise([*channels, out_channels])):
            stride, padding = (1, 0) if i == 0 else (2, 1)
            layers.append(nn.ConvTranspose2d(a, b, 4, stride, padding))
            if i < len(channels) - 1:
                layers.append(nn.SiLU())
        super().__init__(*layers)


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


for kind in ("color_image", "depth_image", "grey_image"):
    register(kind, image_embedding, image_decoder)
