"""A proposal or posterior q(z): a uniform mixture of Gaussians, sampled by strata.

One component is the usual posterior; mixtures of experts (MMVAE) have one per expert, mixtures of
products (MoPoE) one per subset. Drawing a single component for all samples and dividing by the
density of the mixture gains up to log C; here every component gets its share of the samples.

K samples, C components, B items, Z latent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from smvae_core.errors import ConfigError
from smvae_core.model.distributions import Posterior


@dataclass(frozen=True)
class Mixture:
    """q(z) = 1/C sum_c N(z; mean_c, U_c diag(exp(log_var_c)) U_c^T), one mixture per item."""

    mean: Tensor
    """(C, B, Z)."""
    log_var: Tensor
    """(C, B, Z)."""
    shear: Tensor | None = None
    """U (C, B, Z, Z), see `Posterior`; None: the identity."""

    def __post_init__(self) -> None:
        if self.mean.ndim != 3 or self.mean.shape != self.log_var.shape or not len(self.mean):
            raise ConfigError(
                f"a mixture needs mean and log_var (components, items, latent), got "
                f"{tuple(self.mean.shape)} and {tuple(self.log_var.shape)}"
            )

    @classmethod
    def single(cls, posterior: Posterior) -> Mixture:
        """Return the mixture of one component that a Gaussian posterior is."""
        shear = None if posterior.shear is None else posterior.shear[None]
        return cls(posterior.mean[None], posterior.log_var[None], shear)

    @property
    def components(self) -> int:
        return len(self.mean)

    @property
    def items(self) -> int:
        return self.mean.shape[1]

    @property
    def latent_dim(self) -> int:
        return self.mean.shape[2]

    def take(self, rows: slice) -> Mixture:
        """Return the mixtures of some of the items."""
        shear = None if self.shear is None else self.shear[:, rows]
        return Mixture(self.mean[:, rows], self.log_var[:, rows], shear)

    def component(self, index: int) -> Posterior:
        """Return one of the Gaussians."""
        shear = None if self.shear is None else self.shear[index]
        return Posterior(self.mean[index], self.log_var[index], shear)

    def place(self, noise: Tensor) -> Tensor:
        """Return stratified samples (K, B, Z) from standard normals (K, B, Z).

        Sample k belongs to component k mod C, so that equal noise gives paired samples of methods.

        Raises:
            ConfigError: If there are fewer samples than components.
        """
        self._require(len(noise))
        noise = noise.to(self.mean)
        z = torch.empty_like(noise)
        for c in range(self.components):
            z[c :: self.components] = self.component(c).place(noise[c :: self.components])
        return z

    def log_share(self, count: int) -> Tensor:
        """Return the log weight (count,) float64 of each stratified sample in a mean under q.

        1 / (C K_c), K_c being the samples of its component: 1 / K where C divides K. With it the
        mean is unbiased whatever the remainder; the weights sum to one.
        """
        self._require(count)
        component = torch.arange(count, device=self.mean.device) % self.components
        samples = torch.bincount(component, minlength=self.components)
        return -torch.log(self.components * samples[component].double())

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (K, B) float64 of the whole mixture at z (K, B, Z)."""
        total: Tensor | None = None
        for index in range(self.components):
            squared = self.component(index).distance(z).double()
            value = -0.5 * (squared + self.log_var[index].double().sum(-1))
            total = value if total is None else torch.logaddexp(total, value)
        assert total is not None
        return total - 0.5 * self.latent_dim * math.log(2.0 * math.pi) - math.log(self.components)

    def _require(self, count: int) -> None:
        if count < self.components:
            raise ConfigError(
                f"{count} samples of a mixture of {self.components}: each component needs one"
            )


def log_standard_normal(z: Tensor) -> Tensor:
    """Return log N(z; 0, I) (K, B) float64, the prior of every method, at z (K, B, Z)."""
    squared = z.square().sum(-1).double()
    return -0.5 * (squared + z.shape[-1] * math.log(2.0 * math.pi))
