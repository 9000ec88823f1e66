"""The Set Multimodal VAE: embed what was observed, pool it, decode what is asked for.

B batch, M modality, D embedding, Z latent.
"""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smvae_core.errors import ConfigError, EmptySubset, UnknownModality
from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.distributions import Posterior, likelihood_mean, log_likelihood
from smvae_core.model.memory.context import Context, Elements
from smvae_core.model.memory.memory import Memory, Reading
from smvae_core.model.networks import NoisyDecoder, decoder, embedding
from smvae_core.model.set_encoder import SetEncoder
from smvae_core.model.targets import target_decoders


class SMVAE(nn.Module):
    """Joint latent variable model of M modalities with inference from any non-empty subset."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.names = tuple(m.name for m in config.modalities)
        self.embeddings = nn.ModuleDict({m.name: embedding(m, config) for m in config.modalities})
        self.set_encoder = SetEncoder(config)
        self.decoders = nn.ModuleDict({m.name: decoder(m, config) for m in config.modalities})
        self.log_scale = noise_scales(config)
        self.memory = None if config.memory is None else Memory(config, config.memory)
        self.targets = target_decoders(config.targets, config.latent_dim)

    def embed(
        self, batch: Mapping[str, Tensor], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B M D"]:
        """Return e_m of every observed modality, zeros elsewhere.

        Only observed rows go through a network, so absent ones reach neither its output, nor its
        gradient, nor its BatchNorm statistics.

        Args:
            batch: Network inputs (B, *shape) by name; may lack modalities that nobody observed.
            present: True where observed.

        Raises:
            UnknownModality: If the batch has a name that the model does not.
        """
        for name in batch:
            if name not in self.embeddings:
                raise UnknownModality(name, self.names)
        size, width = len(present), self.config.embedding_dim
        columns = []
        for index, name in enumerate(self.names):
            rows = present[:, index].nonzero().squeeze(1)
            if len(rows) == 0:
                columns.append(self.set_encoder.head.weight.new_zeros(size, width))
                continue
            x = batch[name]
            embedded = self.embeddings[name](x if len(rows) == size else x[rows])
            if len(rows) < size:
                embedded = embedded.new_zeros(size, width).index_copy(0, rows, embedded)
            columns.append(embedded)
        return torch.stack([c.to(columns[0].dtype) for c in columns], dim=1)

    def embed_context(self, context: Context) -> Elements:
        """Return the context with its samples embedded.

        Raises:
            UnknownModality: If the context has a name that the model does not.
            ConfigError: If the model has no memory.
        """
        self._memory()
        for name in context.inputs:
            if name not in self.embeddings:
                raise UnknownModality(name, self.names)
        embedded = {n: self.embeddings[n](x) for n, x in context.inputs.items() if len(x)}
        owner = {n: context.owner[n] for n in embedded}
        return Elements(embedded, owner, {n: context.age_s[n] for n in embedded})

    def encode(
        self,
        batch: Mapping[str, Tensor],
        present: Bool[Tensor, "B M"],
        context: Context | None = None,
    ) -> Posterior:
        """Return q(z given x_S), S being what `present` marks in each sample.

        With a context S holds also what it remembers.

        Raises:
            EmptySubset: If a sample has no observed modality, and nothing that it remembers.
            ConfigError: If there is a context and the model has no memory.
        """
        elements = None if context is None else self.embed_context(context)
        return self.posterior(self.embed(batch, present), present, elements)

    def posterior(
        self,
        embeddings: Float[Tensor, "B M D"],
        present: Bool[Tensor, "B M"],
        elements: Elements | None = None,
    ) -> Posterior:
        """Return q(z given x_S) from embeddings that cover at least S.

        Raises:
            EmptySubset: As in `encode`.
            ConfigError: As in `encode`.
        """
        return self.posteriors(embeddings, (present,), elements)[0]

    def posteriors(
        self,
        embeddings: Float[Tensor, "B M D"],
        sets: Sequence[Bool[Tensor, "B M"]],
        elements: Elements | None = None,
    ) -> list[Posterior]:
        """Return q(z given x_S) of several subsets of what the embeddings cover.

        What is remembered is part of each.

        Raises:
            EmptySubset: As in `encode`.
            ConfigError: As in `encode`.
        """
        read = self.read(embeddings, reduce(torch.logical_or, sets), elements)
        return [self.combine(read, present) for present in sets]

    def read(
        self,
        embeddings: Float[Tensor, "B M D"],
        present: Bool[Tensor, "B M"],
        elements: Elements | None = None,
    ) -> Any:
        """Return what `combine` needs of each modality, or each element, by itself.

        Raises:
            ConfigError: As in `encode`.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            if elements is None:
                return self.set_encoder.read(embeddings.float(), present)
            evidence = self.set_encoder.evidence
            assert evidence is not None  # pooling of every model with memory
            return self._memory().read(evidence, embeddings.float(), present, elements)

    def combine(self, read: Any, present: Bool[Tensor, "B M"]) -> Posterior:
        """Return q(z given x_S) from a reading that covers at least S.

        Raises:
            EmptySubset: As in `encode`.
        """
        known = present.any(dim=1)
        if isinstance(read, Reading):
            known = known.index_fill(0, read.owner[read.remembered], True)
        empty = (~known).nonzero()
        if len(empty):
            raise EmptySubset(f"sample {int(empty[0])} of the batch")
        with torch.autocast(present.device.type, enabled=False):
            if isinstance(read, Reading):
                return self._memory().combine(self.set_encoder, read, present)
            return self.set_encoder.combine(read, present)

    def _memory(self) -> Memory:
        if self.memory is None:
            raise ConfigError(
                "this model has no memory: train it with --model.memory, or give it no context"
            )
        return self.memory

    def decode(
        self, z: Float[Tensor, "B Z"], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Return the parameters of p(x_m given z), (B, *shape), of the named modalities.

        Mean of a Gaussian, logits of the others; see `reconstruct` for means. Default: all.
        """
        return {name: self.decoders[name](z).float() for name in names or self.names}

    def reconstruct(
        self, z: Float[Tensor, "B Z"], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Return the mean of p(x_m given z), (B, *shape), of the named modalities (default all)."""
        outputs = self.decode(z, names)
        return {name: likelihood_mean(self.modality(name), x) for name, x in outputs.items()}

    def modality(self, name: str) -> Modality:
        """Return the declaration of one of the model's modalities."""
        return self.config.modalities[self.names.index(name)]

    def log_likelihood(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x_m given z) in nats; see `distributions.log_likelihood` for shapes."""
        log_scale = self.log_scale.get(name)
        return log_likelihood(self.modality(name), x, output, log_scale)

    def noise_scale(self) -> dict[str, float]:
        """Return the standard deviation of each likelihood with noise at z = 0, normalised."""
        return {name: float(scale.detach().exp()) for name, scale in self.log_scale.items()}

    def decoded_noise(self) -> dict[str, tuple[float, ...]]:
        """Return the weights (Z,) of each decoded noise scale, see `bundle.Manifest.scale`."""
        noisy = {n: d for n, d in self.decoders.items() if isinstance(d, NoisyDecoder)}
        return {n: tuple(d.log_noise.weight.detach()[0].tolist()) for n, d in noisy.items()}


def noise_scales(config: ModelConfig) -> nn.ParameterDict:
    """Return the log standard deviation of every Gaussian likelihood, at its initial value."""
    start = torch.tensor(math.log(config.initial_noise))
    return nn.ParameterDict(
        {
            m.name: nn.Parameter(start.clone(), requires_grad=config.learn_noise)
            for m in config.modalities
            if m.has_noise
        }
    )
