"""Networks of laser scans: convolutions around the beams, ranges and chances of a return out.

B beams, D embedding, Z latent.
"""

from itertools import pairwise

from torch import nn

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.networks.base import register

#: Channels of the convolutions, one halving each.
CHANNELS = (16, 32, 64, 128)


class ScanEmbedding(nn.Sequential):
    """Conv1D.16 - 32 - 64 - 128 (Swish), FC.D; input (2, B), range and whether it returned."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        planes, beams = modality.shape
        layers: list[nn.Module] = []
        for a, b in pairwise((planes, *CHANNELS)):
            layers += [nn.Conv1d(a, b, 4, 2, 1), nn.SiLU()]
        features = CHANNELS[-1] * (beams // 2 ** len(CHANNELS))
        super().__init__(*layers, nn.Flatten(), nn.Linear(features, config.embedding_dim))


class ScanDecoder(nn.Sequential):
    """FC.128x(B/16).Swish - DeConv1D.64 - 32 - 16 (Swish) - DeConv1D.2, linear.

    The outputs are the mean range and the logit of a return (likelihood `hurdle`).
    """

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        planes, beams = modality.shape
        channels = CHANNELS[::-1]
        start = beams // 2 ** len(channels)
        layers: list[nn.Module] = [
            nn.Linear(config.latent_dim, channels[0] * start),
            nn.SiLU(),
            nn.Unflatten(1, (channels[0], start)),
        ]
        for a, b in pairwise(channels):
            layers += [nn.ConvTranspose1d(a, b, 4, 2, 1), nn.SiLU()]
        super().__init__(*layers, nn.ConvTranspose1d(channels[-1], planes, 4, 2, 1))


register("scan", ScanEmbedding, ScanDecoder)
