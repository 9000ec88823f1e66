"""A model whose posterior is known: linear sensors of one Gaussian latent, to train encoders on.

It shows whether a set encoder counts evidence. Every sensor measures every latent dimension, with
noise of its own, so that each further one narrows the exact posterior.

B batch, M sensor, R reading (the source of one or more sensors), O output, Z latent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig, Pooling
from smvae_core.model.distributions import Posterior
from smvae_core.model.networks import embedding
from smvae_core.model.set_encoder import SetEncoder
from smvae_training.steps.subsets import SUBSET_STREAM, draw_subsets, generator


@dataclass(frozen=True)
class LinearGaussian:
    """z ~ N(0, I),  x_r = A_r z + sigma_r * noise; sensor m shows the reading x_source(m).

    Columns of A_r are orthogonal, so that the exact posterior is diagonal as the model's is, and
    variances compare without a word about mean-field.
    """

    gain: Float[Tensor, "R O Z"]
    noise: Float[Tensor, " R"]
    source: tuple[int, ...]
    """Reading that each sensor shows; sensors of one reading are exact copies of each other."""

    @property
    def num_sensors(self) -> int:
        return len(self.source)

    @property
    def latent_dim(self) -> int:
        return int(self.gain.shape[2])

    def sample(self, count: int, rng: torch.Generator) -> Float[Tensor, "B M O"]:
        """Return what all sensors show of `count` latents."""
        readings, outputs, latents = self.gain.shape
        z = torch.randn(count, latents, generator=rng)
        noise = torch.randn(count, readings, outputs, generator=rng)
        x = torch.einsum("roz,bz->bro", self.gain, z) + self.noise[:, None] * noise
        return x[:, list(self.source)]

    def readings(
        self, x: Float[Tensor, "B M O"], present: Bool[Tensor, "B M"]
    ) -> tuple[Float[Tensor, "B R O"], Float[Tensor, "B R"]]:
        """Return the readings behind the observed sensors, each once, and 1 where there is one."""
        first = [self.source.index(r) for r in range(len(self.noise))]
        known = [present[:, [s == r for s in self.source]].any(1) for r in range(len(self.noise))]
        return x[:, first], torch.stack(known, dim=1).to(x.dtype)

    def posterior(self, x: Float[Tensor, "B M O"], present: Bool[Tensor, "B M"]) -> Posterior:
        """Return the exact p(z given x_S), of precision I + sum over S of A^T A / sigma^2."""
        reading, known = self.readings(x, present)
        scaled = self.gain / self.noise[:, None, None].square()
        precision = 1.0 + known @ (scaled * self.gain).sum(1)
        mean = torch.einsum("roz,bro,br->bz", scaled, reading, known) / precision
        return Posterior(mean, -precision.log())

    def elbo(
        self, x: Float[Tensor, "B M O"], present: Bool[Tensor, "B M"], posterior: Posterior
    ) -> Float[Tensor, " B"]:
        """Return E_q[log p(x_S given z)] - KL(q || p(z)) in nats, without sampling."""
        reading, known = self.readings(x, present)
        residual = reading - torch.einsum("roz,bz->bro", self.gain, posterior.mean)
        spread = posterior.log_var.exp() @ self.gain.square().sum(1).T
        squared = (residual.square().sum(-1) + spread) / self.noise.square()
        constant = self.gain.shape[1] * (2.0 * self.noise.log() + math.log(2.0 * math.pi))
        return -0.5 * (known * (squared + constant)).sum(-1) - posterior.kl()


def linear_gaussian(
    num_sensors: int = 8, latent_dim: int = 4, *, copies: int = 0, seed: int = 0
) -> LinearGaussian:
    """Return sensors of independent noise from 0.5 to 2, and `copies` exact copies of the last."""
    rng = torch.Generator().manual_seed(seed)
    outputs = 2 * latent_dim
    rotation = torch.linalg.qr(torch.randn(num_sensors, outputs, outputs, generator=rng)).Q
    length = 0.5 + torch.rand(num_sensors, 1, latent_dim, generator=rng)
    noise = torch.logspace(math.log10(0.5), math.log10(2.0), num_sensors)
    source = (*range(num_sensors), *[num_sensors - 1] * copies)
    return LinearGaussian(rotation[:, :, :latent_dim] * length, noise, source)


class SensorEncoder(nn.Module):
    """The package's embedding networks and set encoder, one `vector` modality per sensor."""

    def __init__(self, toy: LinearGaussian, pooling: Pooling, embedding_dim: int = 64) -> None:
        super().__init__()
        shape = (int(toy.gain.shape[1]),)
        modalities = tuple(
            Modality(name=f"sensor_{m}", kind="vector", shape=shape, unit="1")
            for m in range(toy.num_sensors)
        )
        config = ModelConfig(
            modalities=modalities,
            latent_dim=toy.latent_dim,
            embedding_dim=embedding_dim,
            pooling=pooling,
        )
        self.embeddings = nn.ModuleList(embedding(m, config) for m in modalities)
        self.set_encoder = SetEncoder(config)

    def forward(self, x: Float[Tensor, "B M O"], present: Bool[Tensor, "B M"]) -> Posterior:
        embedded = [network(x[:, m]) for m, network in enumerate(self.embeddings)]
        return self.set_encoder.nested(torch.stack(embedded, dim=1), (present,))[0]


def train_encoder(
    toy: LinearGaussian,
    pooling: Pooling,
    *,
    steps: int = 2000,
    batch: int = 256,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> SensorEncoder:
    """Maximise the ELBO of random subsets (paper Eq. 3), drawn as in training, lr by a cosine."""
    torch.manual_seed(seed)
    encoder = SensorEncoder(toy, pooling)
    optimizer = torch.optim.Adam(encoder.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = torch.Generator().manual_seed(seed)
    recorded = np.ones((batch, toy.num_sensors), dtype=bool)
    for step in range(steps):
        x = toy.sample(batch, rng)
        present = torch.from_numpy(draw_subsets(recorded, generator(seed, SUBSET_STREAM, step)))
        loss = -toy.elbo(x, present, encoder(x, present)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return encoder.eval()


@dataclass(frozen=True)
class SubsetVariances:
    """Variances of every non-empty subset, and how far the model is from the exact ones."""

    present: Bool[Tensor, "S M"]
    learned: Float[Tensor, "S Z"]
    """Means over items of the encoder's variances."""
    exact: Float[Tensor, "S Z"]

    def by_count(self) -> dict[int, float]:
        """Return, per number of sensors, mean learned variance over mean exact variance."""
        counts = self.present.sum(1)
        return {
            int(count): float(self.learned[counts == count].mean())
            / float(self.exact[counts == count].mean())
            for count in counts.unique()
        }

    def extremes(self) -> tuple[float, float]:
        """Return the smallest and the largest ratio of any one subset and latent dimension."""
        ratio = self.learned / self.exact
        return float(ratio.min()), float(ratio.max())


@torch.no_grad()
def subset_variances(
    toy: LinearGaussian, encoder: SensorEncoder, *, items: int = 200, seed: int = 1
) -> SubsetVariances:
    """Return the variances of all 2^M - 1 subsets on items that training has not seen."""
    x = toy.sample(items, torch.Generator().manual_seed(seed))
    rows, learned, exact = [], [], []
    for code in range(1, 2**toy.num_sensors):
        row = torch.tensor([code >> m & 1 for m in range(toy.num_sensors)], dtype=torch.bool)
        present = row.expand(items, -1)
        rows.append(row)
        learned.append(encoder(x, present).log_var.exp().mean(0))
        exact.append(toy.posterior(x, present).log_var.exp().mean(0))
    return SubsetVariances(torch.stack(rows), torch.stack(learned), torch.stack(exact))
