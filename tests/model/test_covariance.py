"""Posteriors whose latent dimensions covary, against torch's multivariate normal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.model import SMVAE, Posterior
from smvae_core.model.config import Covariance, ModelConfig
from smvae_core.model.export import PARITY_TOLERANCE, export_bundle
from smvae_core.model.networks import embedding as embedding_of
from smvae_core.model.objective import elbo
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.set_encoder import SetEncoder
from smvae_core.runtime import Runtime
from tests.model.conftest import (
    PRESENT,
    added_pairs,
    example_batch,
    example_encoder,
    example_statistics,
    presence,
    small_config,
)

OBJECTIVES = {
    "observed": ObjectiveConfig(complement=True),
    "subset": ObjectiveConfig(target="subset"),
    "remaining": ObjectiveConfig(target="remaining"),
    "joint": ObjectiveConfig(target="joint", samples=2),
}


def correlated(seed: int, items: int = 6, latents: int = 4) -> Posterior:
    """Return a posterior with random parameters."""
    rng = torch.Generator().manual_seed(seed)
    below = 0.7 * torch.randn(items, latents, latents, generator=rng, dtype=torch.float64)
    mean, log_var = torch.randn(2, items, latents, generator=rng, dtype=torch.float64)
    return Posterior(mean, log_var, below.tril(-1) + torch.eye(latents, dtype=torch.float64))


def truth(q: Posterior) -> MultivariateNormal:
    """Return torch's distribution with the covariance that `Posterior` documents."""
    assert q.shear is not None
    return MultivariateNormal(q.mean, q.shear @ torch.diag_embed(q.log_var.exp()) @ q.shear.mT)


def test_divergences_and_variances_are_those_of_torch():
    q, other = correlated(0), correlated(1)
    zeros, one = torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(q.kl(), kl_divergence(truth(q), MultivariateNormal(zeros, one)))
    torch.testing.assert_close(q.kl_to(other), kl_divergence(truth(q), truth(other)))
    torch.testing.assert_close(q.kl_to(q), torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(q.variance, truth(q).variance)
    fixed = q.detach()
    assert fixed.shear is not None
    assert torch.equal(fixed.shear, q.shear)


def test_densities_and_entropy_are_those_of_torch_and_shear_does_not_change_the_entropy():
    q = correlated(2)
    z = torch.randn(5, 6, 4, dtype=torch.float64)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(q.log_ratio(z), prior - truth(q).log_prob(z))
    diagonal = torch.distributions.Normal(q.mean, (0.5 * q.log_var).exp()).entropy().sum(-1)
    torch.testing.assert_close(truth(q).entropy(), diagonal)


def test_reduced_precision_of_the_networks_does_not_reach_the_posterior():
    q = correlated(2)
    single = Posterior(q.mean.float(), q.log_var.float(), q.shear.float())
    epsilon = torch.randn(5, 6, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = single.place(epsilon), single.kl(), single.variance
    for low, full in zip(found, (single.place(epsilon), q.kl(), q.variance), strict=True):
        torch.testing.assert_close(low, full.float(), atol=1e-5, rtol=1e-5)


def test_samples_have_the_covariance_and_pairs_are_mirrored():
    q = correlated(3, items=1)
    many = Posterior(*(x.expand(60_000, *x.shape[1:]) for x in (q.mean, q.log_var, q.shear)))
    z = many.rsample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(0), q.mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(z.T.cov(), truth(q).covariance_matrix[0], atol=0.1, rtol=0.05)
    one, two = correlated(4).antithetic(2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(0.5 * (one + two), correlated(4).mean)


def test_it_starts_as_the_diagonal_posterior():
    encoders = []
    for covariance in ("diagonal", "full"):
        torch.manual_seed(0)
        encoders.append(SetEncoder(small_config(pooling="evidence", covariance=covariance)))
    embeddings = torch.randn(15, 4, 32)
    diagonal, full = (encoder.nested(embeddings, (PRESENT,))[0] for encoder in encoders)
    assert diagonal.shear is None
    assert torch.equal(full.shear, torch.eye(8).expand(15, 8, 8))
    assert torch.equal(full.log_var, diagonal.log_var)
    assert torch.equal(full.mean, diagonal.mean)


@pytest.mark.parametrize("pooling", ["paper", "hirt", "evidence_attention"])
def test_the_shear_is_of_the_observed_modalities_alone_in_any_order(pooling: str):
    encoder = example_encoder(pooling=pooling, covariance="full")
    embeddings = torch.randn(15, 4, 32)
    expected = encoder.nested(embeddings, (PRESENT,))[0].shear
    assert expected is not None
    assert torch.equal(expected.triu(), torch.eye(8).expand(15, 8, 8))
    assert float(expected.detach().tril(-1).abs().mean()) > 0.01
    order = torch.tensor([2, 0, 3, 1])
    other = encoder.nested(embeddings[:, order], (PRESENT[:, order],))[0].shear
    torch.testing.assert_close(other, expected, atol=2e-6, rtol=1e-5)
    embeddings[~PRESENT] = float("nan")
    assert torch.equal(encoder.nested(embeddings, (PRESENT,))[0].shear, expected)


def test_evidence_never_raises_the_entropy_of_a_correlated_posterior_either():
    encoder = example_encoder(pooling="evidence_attention", covariance="full")
    embeddings = torch.randn(1, 4, 32).expand(15, 4, 32)
    entropy = truth(encoder.nested(embeddings, (PRESENT,))[0]).entropy().detach()
    pairs = added_pairs()
    assert len(pairs) == 28
    assert all(float(entropy[j]) <= float(entropy[i]) + 1e-5 for i, j in pairs)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_every_objective_trains_the_shear(objective: ObjectiveConfig):
    torch.manual_seed(0)
    model = SMVAE(small_config(pooling="evidence", covariance="full"))
    recorded, present = presence(model, 4, *model.names), presence(model, 4, "rgb", "force")
    terms = elbo(model, example_batch(model, 4), recorded, present, 1.0, objective)
    terms.loss.backward()
    assert model.set_encoder.shear is not None
    assert float(model.set_encoder.shear.elements.weight.grad.abs().max()) > 0


def test_a_bundle_gives_mean_and_variance_of_each_dimension_by_itself(tmp_path: Path):
    changes = {"pooling": "evidence_attention", "covariance": "full"}
    model = SMVAE(small_config(**changes))
    model.set_encoder = example_encoder(**changes)
    runtime = Runtime(export_bundle(model, example_statistics(model), tmp_path / "bundle"))
    assert runtime.manifest.covariance == "full"
    assert 0.0 < runtime.manifest.parity["max_difference"] < PARITY_TOLERANCE
    samples = {m.name: m.example_sample(seed=5) for m in runtime.modalities}
    found = runtime.infer(samples)
    row = torch.ones(1, 4, dtype=torch.bool)
    with torch.no_grad():
        posterior = model.posterior(torch.from_numpy(runtime._set.embeddings), row)
    torch.testing.assert_close(torch.from_numpy(found.variance), posterior.variance[0])
    assert found.kl < float(posterior.kl())  # Hadamard: the marginals' sum


def test_what_is_no_covariance_is_refused():
    """In a process of its own: where types are checked at run time, beartype comes first."""
    code = "from smvae_core.model.config import ModelConfig; ModelConfig(covariance='banded')"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    said = "ConfigError: --model.covariance must be one of ('diagonal', 'full'), got 'banded'"
    assert said in found.stderr


def test_one_latent_dimension_cannot_covary():
    with pytest.raises(ConfigError, match=r"needs a --model.latent-dim of at least 2"):
        small_config(covariance="full", latent_dim=1)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_a_full_posterior_is_exact_where_a_diagonal_one_stays_a_known_distance_away(
    covariance: Covariance,
):
    """Where x = A z + noise, columns of A not orthogonal, p(z given x) has a precision P.

    The best diagonal Gaussian has the variances 1 / P_ii, 0.5 (sum log P_ii - log det P) nats away.
    """
    torch.manual_seed(0)
    gain, noise = torch.tensor([[1.5, 1.2], [1.0, 1.4], [0.2, -0.1]]), 0.5
    modality = Modality(name="a", kind="vector", shape=(3,), unit="1")
    config = ModelConfig(
        modalities=(modality,), latent_dim=2, embedding_dim=32, pooling="evidence_attention",
        covariance=covariance,
    )  # fmt: skip
    embedding, encoder = embedding_of(modality, config), SetEncoder(config)
    optimizer = torch.optim.Adam([*embedding.parameters(), *encoder.parameters()], 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    rows = torch.ones(256, 1, dtype=torch.bool)
    likelihood = torch.distributions.Normal(0.0, noise)

    def gap() -> torch.Tensor:
        x = torch.randn(256, 2) @ gain.T + noise * torch.randn(256, 3)
        marginal = MultivariateNormal(torch.zeros(3), gain @ gain.T + noise**2 * torch.eye(3))
        q = encoder.nested(embedding(x).unsqueeze(1), (rows,))[0]
        drawn = q.antithetic(8)
        bounds = [likelihood.log_prob(x - z @ gain.T).sum(-1) for z in drawn]
        return (marginal.log_prob(x) - sum(bounds) / len(drawn) + q.kl()).mean()

    for _ in range(1500):
        optimizer.zero_grad()
        gap().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = torch.stack([gap() for _ in range(100)]).mean()
    precision = torch.eye(2) + gain.T @ gain / noise**2
    distance = 0.5 * (precision.diagonal().log().sum() - precision.logdet())
    assert float(distance) > 0.5
    expected = float(distance) if covariance == "diagonal" else 0.0
    assert float(found) == pytest.approx(expected, abs=0.03)
