"""MoPoE: mixture of products of experts over all subsets (Sutter et al. 2021), MultiVae's `MoPoE`.

B batch, Z latent.
"""

from __future__ import annotations

import torch

from benchmarks.peers.library import BaseMultiVAE, MoPoE, MoPoEConfig, MultimodalBaseDataset
from benchmarks.peers.model import Loss, Passes, PeerModel, decoders, encoders, sizes
from smvae_core.modality import all_subsets
from smvae_core.model.config import ModelConfig
from smvae_training.evaluate.likelihood.mixture import Mixture


class MoPoEPeer(PeerModel):
    """ELBO whose posterior is the uniform mixture of the products of all 2^M - 1 subsets.

    loss = - sum_m lambda_m log p(x_m|z) + beta / (2^M - 1) sum_S KL(q_S(z|x_S) || p(z))
    q_S(z|x_S) = prod_{m in S} q_m(z|x_m), renormalised, with p(z) as a further expert only for the
    set of all modalities, as in the authors' code

    z: one sample per record; the batch is cut into 2^M - 1 runs of floor(B / (2^M - 1)) records,
    each of which samples from one subset's product, smallest subsets first; what is left over goes
    to the set of all modalities (16 instead of 8 of 128 records with four modalities). The mean KL
    bounds that of the mixture from above.

    Annealing: MultiVae reads `model_config.beta` at every forward; it is set to our beta.

    The posterior of a subset S is the mixture over the non-empty subsets of S, the paper's; where
    MultiVae's `encode` takes the product of S alone, that is the mixture's last component.

    Passes: 1 embedding, 1 decoder.
    """

    name = "mopoe"

    def make(self, config: ModelConfig) -> BaseMultiVAE:
        settings = MoPoEConfig(**sizes(config), subsets=[list(s) for s in all_subsets(_of(config))])
        return MoPoE(settings, encoders(config), decoders(config))

    def training_loss(self, data: MultimodalBaseDataset, beta: float) -> Loss:
        self.library.model_config.beta = beta
        output = self.library(data)
        return Loss(output.loss, output.metrics["joint_divergence"].detach(), self.heard())

    def posterior(self, data: MultimodalBaseDataset, subset: tuple[str, ...]) -> Mixture:
        outputs = {name: self.library.encoders[name](data.data[name]) for name in subset}
        products = [
            self.library._poe_fusion(
                torch.stack([outputs[name].embedding for name in part]),
                torch.stack([outputs[name].log_covariance for name in part]),
            )
            for part in all_subsets(subset)
        ]
        means, log_vars = zip(*products, strict=True)
        return Mixture(torch.stack(means), torch.stack(log_vars))

    @property
    def passes(self) -> Passes:
        return Passes(embedding=1.0, decoder=1.0)


def _of(config: ModelConfig) -> tuple[str, ...]:
    return tuple(m.name for m in config.modalities)
