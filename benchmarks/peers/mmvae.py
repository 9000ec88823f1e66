"""MMVAE: mixture of unimodal experts (Shi et al. 2019), MultiVae's `MMVAE`.

B batch, K samples per expert, M modality, Z latent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.library import MMVAE, BaseMultiVAE, MMVAEConfig, MultimodalBaseDataset
from benchmarks.peers.model import Loss, Passes, PeerModel, decoders, encoders, sizes
from smvae_core.model.config import ModelConfig
from smvae_training.evaluate.likelihood.mixture import Mixture

#: Samples per expert and step. Each costs a pass of every decoder for every modality.
K = 1


class AnnealedMMVAE(MMVAE):
    """MultiVae's MMVAE, which ignores its own beta, with the beta that its MMVAE+ has."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.beta = 1.0
        self.divergence = torch.zeros(())

    def compute_k_lws(
        self,
        qz_xs: Mapping[str, Any],
        embeddings: Mapping[str, Tensor],
        reconstructions: Mapping[str, Mapping[str, Tensor]],
        inputs: MultimodalBaseDataset,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return log w = sum_m lambda_m log p(x_m|z) + beta (log p(z) - log q(z|x_1..M)), (K, B).

        Equal to MultiVae's at beta 1 on complete data, a test holds.
        """
        weights, divergences = {}, []
        for expert, z in embeddings.items():
            densities = torch.stack([q.log_prob(z).sum(-1) for q in qz_xs.values()])
            posterior = torch.logsumexp(densities, dim=0) - math.log(len(qz_xs))
            divergence = posterior - self.prior_dist(*self.pz_params).log_prob(z).sum(-1)
            divergences.append(divergence.detach().mean())
            likelihood = sum(
                self.rescale_factors[name] * self.recon_log_probs[name](output, inputs.data[name])
                for name, output in reconstructions[expert].items()
            )
            weights[expert] = likelihood - self.beta * divergence
        self.divergence = torch.stack(divergences).mean()
        return weights, torch.tensor([len(qz_xs)], device=self.divergence.device)

    def dreg_looser(self, *arguments: Any) -> Any:
        """Return the loss with DReG's gradient; where no gradient is wanted, the plain bound."""
        if torch.is_grad_enabled():
            return super().dreg_looser(*arguments)
        return self.iwae_looser(*arguments)


class MMVAEPeer(PeerModel):
    """Stratified ELBO of the mixture q(z|x_1..M) = 1/M sum_m q_m(z|x_m).

    loss = - 1/M sum_e log 1/K sum_k w(z_e^k),  z_e^k ~ q_e(z|x_e), with K = 1, where
    log w(z) = sum_m lambda_m log p(x_m|z) + beta (log p(z) - log 1/M sum_m q_m(z|x_m))

    The density is that of the whole mixture, so that with K = 1 this is its ELBO without bias, one
    sample from every expert. Normal posterior and prior, the prior not learned (MultiVae's default
    is Laplace with scales that sum to Z, and a learned prior: another model than the others').

    K: Shi et al. use 30, MultiVae 10, with the tighter importance-weighted bound. Each sample costs
    M passes of every decoder, 20 with K = 10 and two modalities where the other methods need 1 or
    2; an equal budget per step means K = 1, which already is M.

    Gradient: DReG, as in the paper; with K = 1 that is the path derivative, unbiased here because
    the density dropped from the gradient is that of the mixture that is sampled.

    Annealing: MultiVae's MMVAE has a beta in its configuration that its code never reads.
    `AnnealedMMVAE` weighs log p(z) - log q by ours, where MultiVae's MMVAE+ does.

    The posterior of a subset is the uniform mixture of its unimodal posteriors.

    Passes: 1 embedding, M K decoder.
    """

    name = "mmvae"

    def make(self, config: ModelConfig) -> BaseMultiVAE:
        settings = MMVAEConfig(
            **sizes(config),
            K=K,
            prior_and_posterior_dist="normal",
            learn_prior=False,
            loss="dreg_looser",
        )
        return AnnealedMMVAE(settings, encoders(config), decoders(config))

    def training_loss(self, data: MultimodalBaseDataset, beta: float) -> Loss:
        self.library.beta = beta
        output = self.library(data)
        return Loss(output.loss / len(data), self.library.divergence, self.heard())

    def posterior(self, data: MultimodalBaseDataset, subset: tuple[str, ...]) -> Mixture:
        outputs = [self.library.encoders[name](data.data[name]) for name in subset]
        means = torch.stack([o.embedding for o in outputs])
        return Mixture(means, torch.stack([o.log_covariance for o in outputs]))

    @property
    def passes(self) -> Passes:
        return Passes(embedding=1.0, decoder=float(len(self.names) * K))
