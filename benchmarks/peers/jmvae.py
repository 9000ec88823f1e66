"""JMVAE: a joint encoder, and unimodal ones drawn towards it (Suzuki et al. 2016), `JMVAE`."""

from __future__ import annotations

import torch

from benchmarks.peers.library import JMVAE, BaseMultiVAE, JMVAEConfig, MultimodalBaseDataset
from benchmarks.peers.model import Loss, Passes, PeerModel, decoders, encoders, sizes
from benchmarks.peers.networks import JointEncoder
from smvae_core.model.config import ModelConfig
from smvae_core.model.distributions import Posterior
from smvae_training.evaluate.likelihood.method import CannotEncode
from smvae_training.evaluate.likelihood.mixture import Mixture

#: Weight of the unimodal encoders' divergences: the paper's choice for MNIST, MultiVae's default.
ALPHA = 0.1


class JMVAEPeer(PeerModel):
    """JMVAE-kl: joint ELBO, minus alpha times how far the unimodal posteriors are from the joint.

    loss = - sum_m lambda_m log p(x_m|z)
           + beta [ KL(q(z|x_1..M) || p(z)) + alpha sum_m KL(q(z|x_1..M) || q_m(z|x_m)) ]

    z ~ q(z|x_1..M), one sample, closed KLs. The joint encoder has its own embedding networks, see
    `JointEncoder`.

    Annealing: MultiVae multiplies all divergences by min(1, epoch / warmup); with `warmup=1` our
    beta is handed in as the epoch.

    It has posteriors of all modalities together and of each alone, and no other: for subsets in
    between MultiVae multiplies unimodal posteriors that were never trained to be multiplied.

    Passes: 2 embedding (own networks of the joint encoder, and the unimodal ones), 1 decoder.
    """

    name = "jmvae"

    def make(self, config: ModelConfig) -> BaseMultiVAE:
        settings = JMVAEConfig(**sizes(config), alpha=ALPHA, beta=1.0, warmup=1)
        return JMVAE(settings, encoders(config), decoders(config), JointEncoder(config))

    def training_loss(self, data: MultimodalBaseDataset, beta: float) -> Loss:
        output = self.library(data, epoch=beta)
        with torch.no_grad():
            joint = self.library.joint_encoder(data.data)
            kl = Posterior(joint.embedding, joint.log_covariance).kl().mean()
        return Loss(output.loss, kl, self.heard())

    def posterior(self, data: MultimodalBaseDataset, subset: tuple[str, ...]) -> Mixture:
        if subset == self.names:
            output = self.library.joint_encoder(data.data)
        elif len(subset) == 1:
            output = self.library.encoders[subset[0]](data.data[subset[0]])
        else:
            raise CannotEncode(self.name, subset)
        return Mixture.single(Posterior(output.embedding, output.log_covariance))

    @property
    def passes(self) -> Passes:
        return Passes(embedding=2.0, decoder=1.0)
