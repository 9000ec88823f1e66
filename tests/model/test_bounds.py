"""The gradient of the importance-weighted bound, against the plain estimator of the same bound."""

from __future__ import annotations

import math

import pytest
import torch

from smvae_core.model.bounds import Bound, Part, combine
from smvae_core.model.distributions import Posterior

DRAWS, SAMPLES = 400_000, 3


def log_likelihood(z: torch.Tensor) -> torch.Tensor:
    """Return something far from quadratic, so that no posterior of ours is exact."""
    return (-2.0 * (z - 1.0).square() + torch.sin(3.0 * z)).sum(-1)


def gradients(fixed: bool, beta: float) -> torch.Tensor:
    """Return the gradient of every draw towards (mean, log variance), (DRAWS, 2).

    `fixed` is what `draw_bound` does; otherwise the bound is differentiated as it stands.
    """
    generator = torch.Generator().manual_seed(5)
    mean = torch.full((DRAWS, 1), 0.4, dtype=torch.float64, requires_grad=True)
    log_var = torch.full((DRAWS, 1), -0.7, dtype=torch.float64, requires_grad=True)
    posterior = Posterior(mean, log_var)
    draws = [posterior.rsample(generator) for _ in range(SAMPLES)]
    if fixed:
        ratios = [posterior.detach().log_ratio(z) for z in draws]
        kl = posterior.kl().detach()
        recorded = torch.ones(DRAWS, 1, dtype=torch.bool)
        parts = tuple(Part(recorded, z, log_ratio=r) for z, r in zip(draws, ratios, strict=True))
        bound = Bound(posterior, kl, kl, parts)
        value = combine(bound, [log_likelihood(z) for z in draws], beta)
    else:
        weights = [log_likelihood(z) + beta * posterior.log_ratio(z) for z in draws]
        value = torch.logsumexp(torch.stack(weights), 0) - math.log(SAMPLES)
    value.sum().backward()
    return torch.cat([mean.grad, log_var.grad], dim=1)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_gradient_is_without_bias_at_every_beta(beta: float):
    ours, plain = gradients(True, beta), gradients(False, beta)
    difference = ours - plain
    error = difference.std(0) / math.sqrt(DRAWS)
    assert (difference.mean(0).abs() <= 4.0 * error + 1e-12).all()
    assert (plain.mean(0).abs() > 20.0 * plain.std(0) / math.sqrt(DRAWS)).all(), "no gradient here"


def test_the_gradient_of_the_spread_is_less_noisy():
    ours, plain = gradients(True, 1.0), gradients(False, 1.0)
    assert (ours.var(0) < plain.var(0)).all()
