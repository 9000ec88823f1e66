"""KL and likelihoods against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    Normal,
    kl_divergence,
)

from smvae_core.modality import Modality
from smvae_core.model import Posterior
from smvae_core.model.distributions import Share, likelihood_mean, log_likelihood
from smvae_core.presets import CELEBA, MNIST


def test_kl_equals_torch_distributions():
    torch.manual_seed(0)
    posterior = Posterior(torch.randn(7, 5), torch.randn(7, 5))
    q = Independent(Normal(posterior.mean, (0.5 * posterior.log_var).exp()), 1)
    p = Independent(Normal(torch.zeros(7, 5), torch.ones(7, 5)), 1)
    torch.testing.assert_close(posterior.kl(), kl_divergence(q, p))


@pytest.mark.parametrize("draw", ["rsample", "rsamples", "antithetic"])
def test_rows_of_a_shared_batch_get_the_noise_of_the_whole_one(draw: str):
    torch.manual_seed(0)
    mean, log_var = torch.randn(7, 5), torch.randn(7, 5)
    count = () if draw == "rsample" else (4,)

    def drawn(rows: slice, noise: Share | None) -> torch.Tensor:
        torch.manual_seed(1)
        found = getattr(Posterior(mean[rows], log_var[rows]), draw)(*count, generator=noise)
        return found if draw == "rsample" else torch.stack(found, 1)

    whole = drawn(slice(None), None)
    for first in range(3):
        share = Share(first, 3, 7)
        rows = slice(first, None, 3)
        assert share.rows == len(mean[rows])
        assert torch.equal(drawn(rows, share), whole[rows])


def test_gaussian_log_likelihood_equals_torch_distributions():
    torch.manual_seed(1)
    x, mean, log_scale = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8), torch.tensor(-0.7)
    expected = Normal(mean, log_scale.exp()).log_prob(x).flatten(1).sum(1)
    modality = Modality(name="a", kind="color_image", shape=(3, 32, 32), unit="1")
    x, mean = (t.repeat(1, 1, 4, 4) for t in (x, mean))
    torch.testing.assert_close(log_likelihood(modality, x, mean, log_scale), 16 * expected)


def test_a_decoded_noise_scale_multiplies_the_shared_one_and_leaves_the_mean():
    torch.manual_seed(1)
    modality = Modality(name="a", kind="signal", shape=(6, 32), unit="N")
    x, mean, log_scale = torch.randn(4, 6, 32), torch.randn(5, 4, 6, 32), torch.tensor(-0.7)
    log_noise = torch.randn(5, 4)
    output = torch.cat([mean, log_noise[..., None, None].expand(5, 4, 1, 32)], dim=-2)
    scale = (log_scale + log_noise).exp()[..., None, None]
    expected = Normal(mean, scale).log_prob(x).flatten(2).sum(2)
    torch.testing.assert_close(log_likelihood(modality, x, output, log_scale), expected)
    assert torch.equal(likelihood_mean(modality, output), mean)


def test_bernoulli_log_likelihood_equals_torch_distributions():
    torch.manual_seed(2)
    image = MNIST[0]
    x, logits = (torch.rand(4, *image.shape) < 0.5).float(), 3 * torch.randn(4, *image.shape)
    expected = Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(log_likelihood(image, x, logits), expected)


def test_bernoulli_log_likelihood_of_grey_levels_is_their_cross_entropy():
    torch.manual_seed(3)
    image = MNIST[0]
    x, logits = torch.rand(4, *image.shape), torch.randn(4, *image.shape)
    # not binary_cross_entropy_with_logits: torch 2.13 on a CPU gives wrong values for grey levels
    loss = nn.functional.binary_cross_entropy(torch.sigmoid(logits), x, reduction="none")
    torch.testing.assert_close(log_likelihood(image, x, logits), -loss.flatten(1).sum(1))


def test_categorical_log_likelihood_equals_torch_distributions_and_broadcasts():
    torch.manual_seed(4)
    label = MNIST[1]
    classes, logits = torch.tensor([3, 0, 9]), torch.randn(5, 3, 10)
    one_hot = nn.functional.one_hot(classes, 10).float()
    expected = Categorical(logits=logits).log_prob(classes)
    torch.testing.assert_close(log_likelihood(label, one_hot, logits), expected)


@pytest.mark.parametrize("modality", [*MNIST, CELEBA[1]], ids=lambda m: m.kind)
def test_the_mean_of_a_discrete_likelihood_is_a_probability(modality: Modality):
    torch.manual_seed(5)
    mean = likelihood_mean(modality, 2 * torch.randn(4, *modality.shape))
    assert ((mean > 0) & (mean < 1)).all()
    if modality.likelihood == "categorical":
        torch.testing.assert_close(mean.sum(-1), torch.ones(4))


def test_rsample_has_the_posterior_mean_and_variance():
    posterior = Posterior(torch.full((40_000, 2), 1.5), torch.full((40_000, 2), math.log(0.25)))
    z = posterior.rsample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(0), torch.full((2,), 1.5), atol=0.01, rtol=0)
    torch.testing.assert_close(z.var(0), torch.full((2,), 0.25), atol=0.01, rtol=0)


def test_kl_between_posteriors_equals_torch_distributions():
    torch.manual_seed(6)
    a, b = (Posterior(torch.randn(7, 5), torch.randn(7, 5)) for _ in range(2))
    p, q = (Independent(Normal(x.mean, (0.5 * x.log_var).exp()), 1) for x in (a, b))
    torch.testing.assert_close(a.kl_to(b), kl_divergence(p, q))
