"""Our networks in the form that MultiVae asks for.

B batch, D embedding, Z latent, M modality.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers.library import BaseDecoder, BaseEncoder, BaseJointEncoder, ModelOutput
from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.networks import decoder, embedding

#: Log variances are clipped to this magnitude, reached by a few outlying records at most.
LARGEST_LOG_VARIANCE = 20.0


class Heads(nn.Module):
    """Embedding (B, D) -> mean and log variance (B, Z), linear, in float32 as our set encoder.

    The clipping: on the simulated robot an action far outside of the training range has a variance
    below float32's smallest number, whose densities in MVAE and MMVAE have no finite gradient.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.mean = nn.Linear(config.embedding_dim, config.latent_dim)
        self.log_var = nn.Linear(config.embedding_dim, config.latent_dim)

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(embedding.device.type, enabled=False):
            embedding = embedding.float()
            log_var = self.log_var(embedding)
            largest = LARGEST_LOG_VARIANCE
            return self.mean(embedding), log_var.clamp(-largest, largest)


class Memory:
    """Keeps a network's output for as long as it is asked about the same input object.

    MultiVae's MVAE encodes every modality once for each subset that holds it. Within `open` and
    `close` the second and later times are answered from memory; outside, nothing is kept.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Any, Any]] | None = None

    def open(self) -> None:
        self._kept = {}

    def close(self) -> None:
        self._kept = None

    def answer(self, x: Any, compute: Callable[[Any], Any]) -> Any:
        if self._kept is None:
            return compute(x)
        if id(x) not in self._kept:
            self._kept[id(x)] = (x, compute(x))  # x is kept, so that its id stays its own
        return self._kept[id(x)][1]


class Encoder(BaseEncoder):
    """q(z given x_m): our embedding network and two linear heads."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        self.embedding = embedding(modality, config)
        self.heads = Heads(config)
        self.memory = Memory()

    def forward(self, x: Tensor) -> ModelOutput:
        return self.memory.answer(x, self._encode)

    def _encode(self, x: Tensor) -> ModelOutput:
        mean, log_var = self.heads(self.embedding(x))
        return ModelOutput(embedding=mean, log_covariance=log_var)


class JointEncoder(BaseJointEncoder):
    """q(z given x_1..M) of JMVAE: our embedding networks, concatenated, FC.D.Swish, heads.

    The embedding networks are its own, as in JMVAE and in MultiVae's default. That default joins
    the unimodal encoders' posterior means (Z each); here the embeddings (D each) are joined, so
    that the joint posterior does not see the data through Z numbers.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        self.embeddings = nn.ModuleDict({m.name: embedding(m, config) for m in config.modalities})
        width = config.embedding_dim
        self.join = nn.Sequential(nn.Linear(len(self.embeddings) * width, width), nn.SiLU())
        self.heads = Heads(config)
        self.memory = Memory()

    def forward(self, x: dict[str, Tensor]) -> ModelOutput:
        return self.memory.answer(x, self._encode)

    def _encode(self, x: dict[str, Tensor]) -> ModelOutput:
        embedded = [network(x[name]) for name, network in self.embeddings.items()]
        with torch.autocast(embedded[0].device.type, enabled=False):
            joined = self.join(torch.cat([e.float() for e in embedded], dim=-1))
        mean, log_var = self.heads(joined)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class Decoder(BaseDecoder):
    """p(x_m given z): our decoder; gives the parameters of the likelihood, (..., *shape)."""

    def __init__(self, modality: Modality, config: ModelConfig) -> None:
        super().__init__()
        self.network = decoder(modality, config)

    def forward(self, z: Tensor) -> ModelOutput:
        output = self.network(z.reshape(-1, z.shape[-1])).float()
        return ModelOutput(reconstruction=output.reshape(*z.shape[:-1], *output.shape[1:]))
