"""MVTCAE: total correlation as objective, product of experts (Hwang et al. 2021), `MVTCAE`."""

from __future__ import annotations

import torch

from benchmarks.peers.library import MVTCAE, BaseMultiVAE, MultimodalBaseDataset, MVTCAEConfig, poe
from benchmarks.peers.model import Loss, Passes, PeerModel, decoders, encoders, sizes
from smvae_core.model.config import ModelConfig
from smvae_core.model.distributions import Posterior
from smvae_training.evaluate.likelihood.mixture import Mixture

#: Share of the conditional bottlenecks in the objective: MultiVae's default.
ALPHA = 0.1


class MVTCAEPeer(PeerModel):
    """Joint ELBO mixed with the conditional bottlenecks that keep unimodal posteriors near it.

    loss = - (M - alpha)/M sum_m lambda_m log p(x_m|z)
           + beta [ (1 - alpha) KL(q(z|x_1..M) || p(z))
                    + alpha/M sum_m KL(q(z|x_1..M) || q_m(z|x_m)) ]
    q(z|x_S) = prod_{m in S} q_m(z|x_m), renormalised, without a prior expert

    z ~ q(z|x_1..M), one sample, closed KLs. Full weight of the divergences is 1, that of an ELBO,
    for a comparison by likelihood; MultiVae's default for its coherence benchmark is 2.5.

    Annealing: MultiVae reads `self.beta` at every forward; it is set to our beta.

    Passes: 1 embedding, 1 decoder.
    """

    name = "mvtcae"

    def make(self, config: ModelConfig) -> BaseMultiVAE:
        settings = MVTCAEConfig(**sizes(config), alpha=ALPHA, beta=1.0)
        return MVTCAE(settings, encoders(config), decoders(config))

    def training_loss(self, data: MultimodalBaseDataset, beta: float) -> Loss:
        self.library.beta = beta
        try:
            output = self.library(data)
        except AssertionError as err:  # MultiVae's way to find a NaN
            raise ArithmeticError(f"{self.name}: the loss is no longer a finite number") from err
        kl = output.metrics["joint_divergence"].detach() / len(data)
        return Loss(output.loss, kl, self.heard())

    def posterior(self, data: MultimodalBaseDataset, subset: tuple[str, ...]) -> Mixture:
        outputs = [self.library.encoders[name](data.data[name]) for name in subset]
        means = torch.stack([o.embedding for o in outputs])
        log_vars = torch.stack([o.log_covariance for o in outputs])
        return Mixture.single(Posterior(*poe(means, log_vars)))

    @property
    def passes(self) -> Passes:
        return Passes(embedding=1.0, decoder=1.0)
