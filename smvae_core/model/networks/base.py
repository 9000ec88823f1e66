"""The table of networks by kind, and what all decoders share.

B batch, D embedding, Z latent, C channels.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smvae_core.bundle import LARGEST_LOG_NOISE
from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig

Network = Callable[[Modality, ModelConfig], nn.Module]
_NETWORKS: dict[str, tuple[Network, Network]] = {}


def register(kind: str, embedding: Network, decoder: Network) -> None:
    """Say which networks a kind has.

    Args:
        kind: Its name.
        embedding: Network input (B, *shape) -> e_m (B, D).
        decoder: Latent (B, Z) -> parameters of p(x_m given z), (B, *shape).
    """
    _NETWORKS[kind] = embedding, decoder


def embedding(modality: Modality, config: ModelConfig) -> nn.Module:
    """Return the embedding network of a modality.

    Raises:
        ConfigError: If no network was registered for its kind.
    """
    return _networks(modality)[0](modality, config)


def decoder(modality: Modality, config: ModelConfig) -> nn.Module:
    """Return the decoder of a modality, with its noise scale where the configuration asks.

    Raises:
        ConfigError: If no network was registered for its kind.
    """
    network = _networks(modality)[1](modality, config)
    if config.decoded_noise and modality.has_noise:
        return NoisyDecoder(network, config.latent_dim)
    return network


def _networks(modality: Modality) -> tuple[Network, Network]:
    if modality.kind not in _NETWORKS:
        raise ConfigError(
            f"modality '{modality.name}': no networks for kind '{modality.kind}': have "
            f"{', '.join(_NETWORKS)}; a file in smvae_core/model/networks/ registers them"
        )
    return _NETWORKS[modality.kind]


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
