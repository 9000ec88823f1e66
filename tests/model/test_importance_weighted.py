"""Several latent samples in the joint bound: importance weighted at beta 1, their mean before."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from smvae_core.errors import ConfigError
from smvae_core.model import SMVAE, ObjectiveConfig, elbo
from tests.model.conftest import example_batch, presence


def by_definition(
    model: SMVAE, batch: dict[str, torch.Tensor], latents: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log p(X given z_k), force tenfold, and log p(z_k) / q(z_k given X), both (K, B)."""
    posterior = model.encode(batch, presence(model, 5, *model.names))
    q = Independent(Normal(posterior.mean, (0.5 * posterior.log_var).exp()), 1)
    prior = Independent(Normal(torch.zeros(5, 8), torch.ones(5, 8)), 1)
    likelihoods, ratios = [], []
    for z in latents:
        outputs = model.decode(z)
        each = {n: model.log_likelihood(n, batch[n], outputs[n]) for n in model.names}
        likelihoods.append(sum(each.values()) + 9.0 * each["force"])
        ratios.append(prior.log_prob(z) - q.log_prob(z))
    return torch.stack(likelihoods), torch.stack(ratios)


WEIGHTED = ObjectiveConfig(target="joint", samples=3, matching=0.0, weights={"force": 10.0})


def test_importance_weighted_samples_give_the_bound_of_burda_et_al(model: SMVAE):
    """Computed again from its definition, with the same latents and weights."""
    model.eval()
    everything, batch = presence(model, 5, *model.names), example_batch(model, 5)
    seeded = torch.Generator().manual_seed
    found = elbo(model, batch, everything, everything, 1.0, WEIGHTED, seeded(3))
    latents = model.encode(batch, everything).rsamples(3, seeded(3))
    likelihoods, ratios = by_definition(model, batch, latents)
    expected = torch.logsumexp(likelihoods + ratios, 0) - math.log(3)
    torch.testing.assert_close(found.loss, -expected.mean(), rtol=1e-5, atol=1e-2)


def test_while_beta_rises_several_samples_are_the_mean_of_their_elbos(model: SMVAE):
    model.eval()
    everything, batch = presence(model, 5, *model.names), example_batch(model, 5)
    seeded = torch.Generator().manual_seed
    found = elbo(model, batch, everything, everything, 0.5, WEIGHTED, seeded(3))
    posterior = model.encode(batch, everything)
    one, two, mirrored = posterior.antithetic(3, seeded(3))
    torch.testing.assert_close(one + mirrored, 2.0 * posterior.mean)
    likelihoods, _ = by_definition(model, batch, [one, two, mirrored])
    expected = likelihoods.mean(0) - 0.5 * posterior.kl()
    torch.testing.assert_close(found.loss, -expected.mean(), rtol=1e-5, atol=1e-2)


def test_more_importance_weighted_samples_tighten_the_bound(model: SMVAE):
    subset = presence(model, 6, "force")
    model.log_scale.requires_grad_(False)

    def mean_loss(samples: int) -> float:
        losses = []
        for seed in range(30):
            draws, config = (
                torch.Generator().manual_seed(seed),
                ObjectiveConfig(target="joint", samples=samples, matching=0.0),
            )
            everything = torch.ones_like(subset)
            batch = example_batch(model, 6)
            with torch.no_grad():
                losses.append(elbo(model, batch, everything, subset, 1.0, config, draws).loss)
        return torch.stack(losses).mean().item()

    model.eval()
    assert mean_loss(8) < mean_loss(2) < mean_loss(1)
    with pytest.raises(ConfigError, match="samples must be 1, or above it with target 'joint'"):
        ObjectiveConfig(samples=2)
