"""The gradient of the importance-weighted bound, against the plain estimator of the same bound."""

from __future__ import annotations

import math

import torch

from smvae_core.model.bounds import Bound, Part, combine
from smvae_core.model.distributions import Posterior

DRAWS, SAMPLES = 400_000, 3


def log_likelihood(z: torch.Tensor) -> torch.Tensor:
    """Return something far from quadratic, so that no posterior of ours is exact."""
    return (-2.0 * (z - 1.0).square() + torch.sin(3.0 * z)).sum(-1)


def gradients(fixed: bool) -> torch.Tensor:
    """Return the gradient of every draw towards (mean, log variance), (DRAWS, 2).

    `fixed` is what `draw_bound` does; otherwise the bound is differentiated as it stands.
    """
    generator = torch.Generator().manual_seed(5)
    mean = torch.full((DRAWS, 1), 0.4, dtype=torch.float64, requires_grad=True)
    log_var = torch.full((DRAWS, 1), -0.7, dtype=torch.float64, requires_grad=True)
    posterior = Posterior(mean, log_var)
    draws = posterior.rsamples(SAMPLES, generator)
    if fixed:
        ratios = [posterior.detach().log_ratio(z) for z in draws]
        kl = posterior.kl().detach()
        recorded = torch.ones(DRAWS, 1, dtype=torch.bool)
        parts = tuple(Part(recorded, z, log_ratio=r) for z, r in zip(draws, ratios, strict=True))
        bound = Bound((posterior,), kl, kl, parts, SAMPLES)
        value = combine(bound, [log_likelihood(z) for z in draws], 1.0)
    else:
        weights = [log_likelihood(z) + posterior.log_ratio(z) for z in draws]
        value = torch.logsumexp(torch.stack(weights), 0) - math.log(SAMPLES)
    value.sum().backward()
    return torch.cat([mean.grad, log_var.grad], dim=1)


def test_the_gradient_is_without_bias():
    ours, plain = gradients(True), gradients(False)
    difference = ours - plain
    error = difference.std(0) / math.sqrt(DRAWS)
    assert (difference.mean(0).abs() <= 4.0 * error + 1e-12).all()
    assert (plain.mean(0).abs() > 20.0 * plain.std(0) / math.sqrt(DRAWS)).all(), "no gradient here"


def test_the_gradient_of_the_spread_is_less_noisy():
    ours, plain = gradients(True), gradients(False)
    assert (ours.var(0) < plain.var(0)).all()


def elbo_gradients(draws: str) -> torch.Tensor:
    """Return the gradient of the mean of two ELBOs, (DRAWS, 2), at beta 0.3."""
    generator = torch.Generator().manual_seed(6)
    mean = torch.full((DRAWS, 1), 0.4, dtype=torch.float64, requires_grad=True)
    log_var = torch.full((DRAWS, 1), -0.7, dtype=torch.float64, requires_grad=True)
    posterior = Posterior(mean, log_var)
    latents = getattr(posterior, draws)(2, generator)
    recorded = torch.ones(DRAWS, 1, dtype=torch.bool)
    parts = tuple(Part(recorded, z) for z in latents)
    kl = posterior.kl()
    combine(
        Bound((posterior,), kl, kl, parts, 2), [log_likelihood(z) for z in latents], 0.3
    ).sum().backward()
    return torch.cat([mean.grad, log_var.grad], dim=1)


def test_antithetic_pairs_give_the_same_gradient_with_less_noise():
    pairs, independent = elbo_gradients("antithetic"), elbo_gradients("rsamples")
    difference = pairs.mean(0) - independent.mean(0)
    error = ((pairs.var(0) + independent.var(0)) / DRAWS).sqrt()
    assert (difference.abs() <= 4.0 * error).all()
    assert (pairs.var(0)[0] < 0.8 * independent.var(0)[0]).all()
