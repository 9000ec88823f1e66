"""MMVAE+: mixture of experts with private latents (Palumbo et al. 2023), MultiVae's `MMVAEPlus`.

B batch, K samples per expert, M modality, P private latent, U shared latent, Z = U + P.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.library import (
    BaseMultiVAE,
    MMVAEPlus,
    MMVAEPlusConfig,
    MultimodalBaseDataset,
)
from benchmarks.peers.model import Loss, Passes, PeerModel, decoders
from benchmarks.peers.networks import SplitEncoder
from smvae_core.model.config import ModelConfig
from smvae_core.model.distributions import Posterior
from smvae_training.evaluate.likelihood.mixture import Mixture

#: Samples per expert and step, as for MMVAE.
K = 1


class GradientFreeMMVAEPlus(MMVAEPlus):
    """MultiVae's MMVAE+, whose DReG loss can also be evaluated where no gradient is wanted."""

    def _dreg_looser(self, *arguments: Any) -> Any:
        if torch.is_grad_enabled():
            return super()._dreg_looser(*arguments)
        return self._iwae_looser(*arguments)


class MMVAEPlusPeer(PeerModel):
    """Mixture of experts over a shared latent u, with a private latent w_m per modality.

    loss = - 1/M sum_e log 1/K sum_k w,  K = 1, u ~ q_e(u|x_e), w_e ~ q_e(w_e|x_e), where
    log w = lambda_e log p(x_e|u, w_e) + sum_{m not e} lambda_m log p(x_m|u, w~_m)
            + beta (log p(u) p(w_e) - log [1/M sum_m q_m(u|x_m)] q_e(w_e|x_e)),  w~_m ~ r_m(w_m)

    r_m is Normal with a learned scale. Each decoder reads Z = U + P numbers, P = Z/4 of them
    private, so that our networks stay as they are and no decoder sees more latents than elsewhere.
    Normal posteriors and prior, DReG gradient, K as for MMVAE.

    Annealing: MultiVae reads `self.beta` at every forward; it is set to our beta.

    The generative model has U + M P latents, all with a standard Normal prior; `decode` takes them
    as (u, w_1, .., w_M). The posterior of a subset S is the mixture over e in S of q_e(u|x_e), with
    q_m(w_m|x_m) for m in S and the prior for the others. The loss draws w~ from r, so it is no
    bound of this model's likelihood.

    Passes: 1 embedding, M K decoder.
    """

    name = "mmvae_plus"

    def make(self, config: ModelConfig) -> BaseMultiVAE:
        self._private = max(1, config.latent_dim // 4)
        settings = MMVAEPlusConfig(
            n_modalities=len(config.modalities),
            latent_dim=config.latent_dim - self._private,
            modalities_specific_dim=self._private,
            K=K,
            prior_and_posterior_dist="normal",
            loss="dreg_looser",
        )
        encoders = {m.name: SplitEncoder(m, config, self._private) for m in config.modalities}
        return GradientFreeMMVAEPlus(settings, encoders, decoders(config))

    def training_loss(self, data: MultimodalBaseDataset, beta: float) -> Loss:
        self.library.beta = beta
        output = self.library(data)
        with torch.no_grad():
            kl = torch.stack([self._both(name, data).kl().mean() for name in self.names]).mean()
        return Loss(output.loss / len(data), kl, self.heard(), is_bound=False)

    def _both(self, name: str, data: MultimodalBaseDataset) -> Posterior:
        """Return q_m(u, w_m|x_m), (B, Z)."""
        output = self.library.encoders[name](data.data[name])
        return Posterior(
            torch.cat([output.embedding, output.style_embedding], dim=-1),
            torch.cat([output.log_covariance, output.style_log_covariance], dim=-1),
        )

    def posterior(self, data: MultimodalBaseDataset, subset: tuple[str, ...]) -> Mixture:
        shared = self.config.latent_dim - self._private
        both = {name: self._both(name, data) for name in subset}
        any_mean = both[subset[0]].mean
        prior = any_mean.new_zeros(len(any_mean), self._private)
        means, log_vars = [], []
        for expert in subset:
            mean, log_var = [both[expert].mean[:, :shared]], [both[expert].log_var[:, :shared]]
            for name in self.names:
                mean.append(both[name].mean[:, shared:] if name in both else prior)
                log_var.append(both[name].log_var[:, shared:] if name in both else prior)
            means.append(torch.cat(mean, dim=-1))
            log_vars.append(torch.cat(log_var, dim=-1))
        return Mixture(torch.stack(means), torch.stack(log_vars))

    def decode(self, z: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the parameters of p(x_m given u, w_m) from (u, w_1, .., w_M), (N, U + M P)."""
        shared = self.config.latent_dim - self._private
        u, *private = z.split([shared] + [self._private] * len(self.names), dim=-1)
        own = dict(zip(self.names, private, strict=True))
        return {
            name: self.library.decoders[name](torch.cat([u, own[name]], dim=-1)).reconstruction
            for name in names or self.names
        }

    @property
    def latent_dim(self) -> int:
        return self.config.latent_dim + (len(self.names) - 1) * self._private

    @property
    def passes(self) -> Passes:
        return Passes(embedding=1.0, decoder=float(len(self.names) * K))
