"""What the evaluator needs of a method, SMVAE or peer, and SMVAE's own adapter.

Training weights (lambda) have no place here: a likelihood is a likelihood.

N latents, B items, Z latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from smvae_core.errors import SMVAEError
from smvae_core.modality import Modality, find, subset_name
from smvae_core.model.smvae import SMVAE
from smvae_training.evaluate.likelihood.mixture import Mixture


class CannotEncode(SMVAEError, ValueError):
    """A method has no posterior given this subset (JMVAE beyond two modalities)."""

    def __init__(self, method: str, subset: Sequence[str]) -> None:
        super().__init__(f"{method} has no posterior given {subset_name(tuple(subset))}")
        self.method, self.subset = method, tuple(subset)


class Method(Protocol):
    """A latent variable model with prior N(0, I) and p(x given z) = prod_m p(x_m given z).

    In evaluation mode, on the device of the inputs that it is given. A learned Gaussian prior is
    brought to N(0, I) by rescaling z in `proposal` and `decode`.
    """

    @property
    def name(self) -> str:
        """Name in results, e.g. 'smvae'."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """In the order of the data set."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities, in their order."""

    def proposal(self, batch: Mapping[str, Tensor], subset: Sequence[str]) -> Mixture:
        """Return q(z given x_S) of every item; reads only the modalities of the subset.

        Raises:
            CannotEncode: If the method has no such posterior.
        """

    def decode(self, z: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the parameters (N, *shape) of p(x_m given z), z (N, Z): mean or logits."""

    def log_likelihood(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x_m given z) in nats, unweighted, summed over the modality's dimensions.

        x (..., *shape) and output (..., *shape) are broadcast over their leading dimensions.
        """

    def noise_scale(self) -> dict[str, float]:
        """Return the standard deviation of each Gaussian likelihood at z = 0, normalised units."""


class SMVAEMethod:
    """The Set Multimodal VAE as a `Method`."""

    def __init__(self, model: SMVAE, name: str = "smvae") -> None:
        """Switch the model to evaluation; on a CPU, convolutions are faster channels last."""
        self.model = model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = name
        self.modalities: tuple[Modality, ...] = model.config.modalities
        self.names: tuple[str, ...] = model.names

    def proposal(self, batch: Mapping[str, Tensor], subset: Sequence[str]) -> Mixture:
        """Return the Gaussian posterior given the subset.

        Raises:
            UnknownModality: If the subset names none of the modalities.
            EmptySubset: If the subset is empty.
        """
        for name in subset:
            find(self.modalities, name)
        size = len(next(iter(batch.values())))
        device = next(iter(batch.values())).device
        row = torch.tensor([name in subset for name in self.names], device=device)
        chosen = {name: batch[name] for name in subset}
        return Mixture.single(self.model.encode(chosen, row.expand(size, -1)))

    def decode(self, z: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        return self.model.decode(z, names)

    def log_likelihood(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        return self.model.log_likelihood(name, x, output)

    def noise_scale(self) -> dict[str, float]:
        return self.model.noise_scale()
