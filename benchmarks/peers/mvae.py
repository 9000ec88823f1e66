"""MVAE: product of experts with a prior expert (Wu & Goodman 2018), MultiVae's `MVAE`.

B batch, M modality, Z latent.
"""

from __future__ import annotations

from itertools import combinations

import torch

from benchmarks.peers.library import MVAE, BaseMultiVAE, MultimodalBaseDataset, MVAEConfig
from benchmarks.peers.model import (
    Loss,
    Passes,
    PeerModel,
    decoders,
    encoders,
    sizes,
)
from smvae_core.model.config import ModelConfig
from smvae_core.model.distributions import Posterior
from smvae_training.evaluate.likelihood.mixture import Mixture


class MVAEPeer(PeerModel):
    """Sum of the ELBOs of all modalities, of each one alone, and, if M > 2, of one random subset.

    loss = - sum over those S of  sum_{m in S} lambda_m log p(x_m|z_S) - beta KL(q(z|x_S) || p(z))
    q(z|x_S) = p(z) prod_{m in S} q_m(z|x_m), renormalised;  z_S ~ q(z|x_S), one sample, closed KL

    This is the paper's sub-sampling with k = 1 partial subset; MultiVae's default is k = 0. With
    two modalities there is no partial subset. The partial subset is drawn per batch, uniformly.

    Annealing: MultiVae weighs its KL by `self.beta` times a warm-up of its own, which `warmup=0`
    turns off; `self.beta` is read at every forward and set to our beta.

    Passes: 1 embedding (MultiVae makes one per subset, here remembered). Decoder: joint and own,
    so 2 with two modalities, and with four 2.6: the partial subset holds a modality in 6 of 10.
    """

    name = "mvae"

    def make(self, config: ModelConfig) -> BaseMultiVAE:
        settings = MVAEConfig(**sizes(config), use_subsampling=True, k=1, warmup=0)
        return MVAE(settings, encoders(config), decoders(config))

    def training_loss(self, data: MultimodalBaseDataset, beta: float) -> Loss:
        self.library.beta = beta
        partial = self._partial_subsets()
        if partial:  # MultiVae draws from numpy's global state: it gets one to choose from
            self.library.subsets = [partial[int(torch.randint(len(partial), ()))]]
        output = self.library(data)
        with torch.no_grad():
            joint = Posterior(*self.library.compute_mu_log_var_subset(data, self.names))
        # MultiVae computes the joint subset first
        return Loss(output.loss, joint.kl().mean(), self.heard(first=1))

    def _partial_subsets(self) -> list[tuple[str, ...]]:
        count = len(self.names)
        return [s for size in range(2, count) for s in combinations(self.names, size)]

    def posterior(self, data: MultimodalBaseDataset, subset: tuple[str, ...]) -> Mixture:
        return Mixture.single(Posterior(*self.library.compute_mu_log_var_subset(data, subset)))

    @property
    def passes(self) -> Passes:
        partial = self._partial_subsets()
        share = sum(map(len, partial)) / len(partial) / len(self.names) if partial else 0.0
        return Passes(embedding=1.0, decoder=2.0 + share)
