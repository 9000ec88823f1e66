"""The linear-Gaussian toy: its closed forms, and whether set encoders count evidence on it."""

from __future__ import annotations

import pytest
import torch

from benchmarks.paper.linear_gaussian import (
    LinearGaussian,
    SensorEncoder,
    SubsetVariances,
    linear_gaussian,
    subset_variances,
    train_encoder,
)
from smvae_core.model.distributions import Posterior


@pytest.fixture(scope="module")
def toy() -> LinearGaussian:
    return linear_gaussian()


@pytest.fixture(scope="module", params=["evidence", "evidence_attention"])
def trained(toy: LinearGaussian, request: pytest.FixtureRequest) -> SensorEncoder:
    return train_encoder(toy, request.param, steps=600)


@pytest.fixture(scope="module")
def variances(toy: LinearGaussian, trained: SensorEncoder) -> SubsetVariances:
    return subset_variances(toy, trained)


def log_evidence(toy: LinearGaussian, x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Return log p(x_S) of one subset from the density of x_S itself, z integrated out."""
    gain, noise = toy.gain[row].flatten(0, 1), toy.noise[row]
    covariance = gain @ gain.T + torch.diag(noise.square().repeat_interleave(toy.gain.shape[1]))
    marginal = torch.distributions.MultivariateNormal(torch.zeros(len(gain)), covariance)
    return marginal.log_prob(x[:, row].flatten(1))


def test_the_elbo_meets_the_log_evidence_at_the_exact_posterior_and_nowhere_above(
    toy: LinearGaussian,
) -> None:
    x = toy.sample(50, torch.Generator().manual_seed(3))
    row = torch.tensor([True, False, True, True, False, False, True, False])
    present = row.expand(50, -1)
    exact = toy.posterior(x, present)
    expected = log_evidence(toy, x, row)
    torch.testing.assert_close(toy.elbo(x, present, exact), expected, atol=2e-3, rtol=0)
    for mean, log_var in ((0.1, 0.0), (0.0, 0.2), (0.0, -0.2)):
        other = Posterior(exact.mean + mean, exact.log_var + log_var)
        assert bool((toy.elbo(x, present, other) < expected - 0.01).all())


def test_a_copy_of_a_sensor_leaves_the_exact_posterior_as_it_was() -> None:
    toy = linear_gaussian(3, copies=1)
    x = toy.sample(20, torch.Generator().manual_seed(4))
    assert torch.equal(x[:, 2], x[:, 3])
    once, twice = (
        toy.posterior(x, torch.tensor([[True, False, True, copied]]).expand(20, -1))
        for copied in (False, True)
    )
    assert torch.equal(once.mean, twice.mean)
    assert torch.equal(once.log_var, twice.log_var)


def test_the_trained_variance_is_within_10_percent_of_the_exact_one_at_every_count(
    variances: SubsetVariances,
) -> None:
    """1 to 8 sensors; a count's value is the mean over its subsets, items and dimensions."""
    ratio = variances.by_count()
    assert sorted(ratio) == list(range(1, 9))
    for count, value in ratio.items():
        assert 0.9 < value < 1.1, f"{count} sensors: {value:.3f} times the exact variance"


def test_the_trained_entropy_falls_or_stays_whenever_a_sensor_is_added(
    toy: LinearGaussian, trained: SensorEncoder
) -> None:
    """All 1016 pairs (S, S + one) of 8 sensors, each of 5 items."""
    rows = torch.tensor([[code >> m & 1 for m in range(8)] for code in range(1, 256)]).bool()
    for x in toy.sample(5, torch.Generator().manual_seed(5)):
        with torch.no_grad():
            entropy = trained(x.expand(255, -1, -1), rows).log_var.sum(1) / 2
        pairs = 0
        for code in range(1, 256):
            for m in range(8):
                if not code >> m & 1:
                    assert entropy[(code | 1 << m) - 1] <= entropy[code - 1] + 1e-5
                    pairs += 1
        assert pairs == 1016


def test_the_trained_elbo_stays_below_the_log_evidence_and_comes_close(
    toy: LinearGaussian, trained: SensorEncoder
) -> None:
    x = toy.sample(2000, torch.Generator().manual_seed(6))
    for count in (1, 4, 8):
        row = torch.arange(8) < count
        with torch.no_grad():
            bound = toy.elbo(x, row.expand(2000, -1), trained(x, row.expand(2000, -1)))
        gap = float((log_evidence(toy, x, row) - bound).mean())
        assert 0.0 < gap < 0.1, f"{count} sensors: {gap:.3f} nats below"
