"""A MultiVae model in the form that our trainer and evaluator ask for.

B batch, C components of a mixture, K samples, M modality, Z latent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.peers.library import BaseMultiVAE, MultimodalBaseDataset
from benchmarks.peers.networks import Decoder, Encoder, JointEncoder
from smvae_core.errors import ConfigError, EmptySubset, UnknownModality
from smvae_core.modality import find
from smvae_core.model.config import ModelConfig
from smvae_core.model.distributions import log_likelihood
from smvae_core.model.smvae import noise_scales
from smvae_training.evaluate.likelihood.mixture import Mixture


@dataclass(frozen=True)
class Passes:
    """What one training step computes per sample, in passes of one modality's networks."""

    embedding: float
    """Of each modality's embedding network."""
    decoder: float
    """Of each modality's decoder, so also of the image decoder, which costs most."""


@dataclass(frozen=True)
class Loss:
    """What one method minimises, means over samples in nats."""

    loss: Tensor
    kl: Tensor
    """Divergence of the joint posterior from the prior, unannealed, without gradient."""
    log_likelihood: Mapping[str, Tensor]
    """Per modality, unweighted, of samples of the joint posterior, without gradient."""


class PeerModel(nn.Module, ABC):
    """One method of MultiVae with our networks and likelihoods; also the evaluator's Method."""

    name: ClassVar[str]

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.modalities = config.modalities
        self.names = tuple(m.name for m in config.modalities)
        self.log_scale = noise_scales(config)
        self.library = self.make(config)
        self.library.recon_log_probs = {name: _LogLikelihood(self, name) for name in self.names}
        self.library.use_likelihood_rescaling = True
        self._heard: dict[str, list[Tensor]] | None = None

    @abstractmethod
    def make(self, config: ModelConfig) -> BaseMultiVAE:
        """Return MultiVae's model around our networks."""

    @abstractmethod
    def training_loss(self, data: MultimodalBaseDataset, beta: float) -> Loss:
        """Return MultiVae's objective on complete records, its KL terms annealed by beta."""

    @abstractmethod
    def posterior(self, data: MultimodalBaseDataset, subset: tuple[str, ...]) -> Mixture:
        """Return q(z given x_S) for a subset in declared order.

        Raises:
            CannotEncode: If the method has no posterior of this subset.
        """

    @property
    @abstractmethod
    def passes(self) -> Passes:
        """Network passes of a training step."""

    def proposal(self, batch: Mapping[str, Tensor], subset: Sequence[str]) -> Mixture:
        """Return q(z given x_S) as the method defines it, a mixture of C Gaussians (C, B, Z).

        Raises:
            CannotEncode: If the method has no posterior of this subset.
            EmptySubset: If the subset is empty.
            UnknownModality: If the subset names what the model does not have.
        """
        for name in subset:
            find(self.modalities, name)
        if not subset:
            raise EmptySubset()
        ordered = tuple(name for name in self.names if name in subset)
        return self.posterior(self.data(batch, ordered), ordered)

    def decode(self, z: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the parameters of p(x_m given z), (N, *shape): Gaussian means, logits else."""
        return {name: self.library.decoders[name](z).reconstruction for name in names or self.names}

    def log_likelihood(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x_m given z) in nats, leading dimensions broadcast, as SMVAE's."""
        value = log_likelihood(find(self.modalities, name), x, output, self.log_scale.get(name))
        if self._heard is not None:
            self._heard[name].append(value.detach().mean())
        return value

    def noise_scale(self) -> dict[str, float]:
        """Return the standard deviation of each Gaussian likelihood at z = 0, normalised units."""
        return {name: float(scale.detach().exp()) for name, scale in self.log_scale.items()}

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Weigh the log likelihoods of the training loss; read by MultiVae at every forward."""
        self.library.rescale_factors = dict(weights)

    def data(self, batch: Mapping[str, Tensor], names: Sequence[str]) -> MultimodalBaseDataset:
        """Return the named modalities of a batch as MultiVae's data set.

        Raises:
            ConfigError: If the batch lacks one.
            UnknownModality: If the batch has one that the model does not.
        """
        for name in batch:
            if name not in self.names:
                raise UnknownModality(name, self.names)
        missing = [name for name in names if name not in batch]
        if missing:
            raise ConfigError(f"{self.name}: the batch lacks {', '.join(missing)}")
        return MultimodalBaseDataset({name: batch[name] for name in names})

    @contextmanager
    def one_step(self) -> Iterator[None]:
        """Encode each input once, and listen to what the likelihoods are."""
        networks = [n for n in self.modules() if isinstance(n, Encoder | JointEncoder)]
        self._heard = {name: [] for name in self.names}
        for network in networks:
            network.memory.open()
        try:
            yield
        finally:
            self._heard = None
            for network in networks:
                network.memory.close()

    def heard(self, first: int | None = None) -> dict[str, Tensor]:
        """Return the mean log likelihoods of this step, of the `first` evaluations or of all."""
        assert self._heard is not None, "only within one_step"
        return {name: torch.stack(values[:first]).mean() for name, values in self._heard.items()}


class _LogLikelihood:
    """MultiVae's `recon_log_probs` entry: log p(target given z), summed over the modality.

    Looks the scale up in the model that owns it, so that a copy of the model reads its own.
    """

    def __init__(self, owner: PeerModel, name: str) -> None:
        self._owner, self._name = owner, name

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return self._owner.log_likelihood(self._name, target.float(), output)


def encoders(config: ModelConfig) -> dict[str, Encoder]:
    """Return our encoder of every modality, by name."""
    return {m.name: Encoder(m, config) for m in config.modalities}


def decoders(config: ModelConfig) -> dict[str, Decoder]:
    """Return our decoder of every modality, by name."""
    return {m.name: Decoder(m, config) for m in config.modalities}


def sizes(config: ModelConfig) -> dict[str, int]:
    """Return the settings that every MultiVae configuration takes."""
    return {"n_modalities": len(config.modalities), "latent_dim": config.latent_dim}
