"""The ELBO against a known evidence, and what each training target computes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError
from torch.distributions import (
    MultivariateNormal,
)

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.modality import Modality
from smvae_core.model import SMVAE, ObjectiveConfig, Posterior, elbo
from smvae_core.model.bounds import complement
from smvae_core.model.distributions import log_likelihood
from tests.model.conftest import example_batch, presence


def linear_gaussian(seed: int = 0):
    """Return a model in which log p(x) and p(z | x) are known exactly: x = W z + noise."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    scale = 0.5
    z = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(200, 6, generator=generator, dtype=torch.float64)
    x = z @ weight.T + scale * noise
    covariance = weight @ weight.T + scale**2 * torch.eye(6, dtype=torch.float64)
    evidence = MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(x)
    precision = torch.eye(2, dtype=torch.float64) + weight.T @ weight / scale**2
    mean = torch.linalg.solve(precision, weight.T @ x.T / scale**2).T
    return weight, scale, x, evidence, mean, torch.linalg.inv(precision)


def mean_elbo(weight, scale, x, posterior: Posterior, draws: int = 400) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    log_scale = torch.tensor(math.log(scale), dtype=torch.float64)
    sensor = Modality(name="x", kind="vector", shape=(6,), unit="1")
    values = [
        log_likelihood(sensor, x, posterior.rsample(generator) @ weight.T, log_scale)
        for _ in range(draws)
    ]
    return torch.stack(values).mean(0) - posterior.kl()


def test_elbo_stays_below_a_known_log_evidence():
    weight, scale, x, evidence, mean, covariance = linear_gaussian()
    wide = Posterior(mean + 0.1, covariance.diagonal().log().expand(len(x), 2) + 0.3)
    assert (mean_elbo(weight, scale, x, wide) < evidence).all()


def test_elbo_meets_the_log_evidence_at_the_true_posterior():
    """With orthogonal columns the true posterior is diagonal, so the bound is tight."""
    weight, scale, x, _, _, _ = linear_gaussian()
    weight = torch.linalg.qr(weight).Q * 2.0
    covariance = weight @ weight.T + scale**2 * torch.eye(6, dtype=torch.float64)
    evidence = MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance).log_prob(x)
    precision = torch.eye(2, dtype=torch.float64) + weight.T @ weight / scale**2
    mean = torch.linalg.solve(precision, weight.T @ x.T / scale**2).T
    log_var = -precision.diagonal().log().expand(len(x), 2)
    bound = mean_elbo(weight, scale, x, Posterior(mean, log_var))
    torch.testing.assert_close(bound.mean(), evidence.mean(), atol=0.02, rtol=0)


def test_observed_targets_train_decoders_that_subset_targets_leave_alone(model: SMVAE):
    batch = example_batch(model, 4)
    recorded, present = presence(model, 4, *model.names), presence(model, 4, "force", "action")
    for target, trained in (("observed", True), ("subset", False)):
        model.zero_grad()
        elbo(model, batch, recorded, present, 1.0, ObjectiveConfig(target=target)).loss.backward()
        grads = [p.grad for p in model.decoders["rgb"].parameters()]
        assert all(g is not None for g in grads) if trained else all(g is None for g in grads)


def test_unrecorded_slots_are_never_read(model: SMVAE):
    batch = example_batch(model, 4)
    recorded = presence(model, 4, *model.names)
    recorded[1, model.names.index("depth")] = False
    batch["depth"][1] = float("nan")
    present = presence(model, 4, "rgb", "force")
    terms = elbo(model, batch, recorded, present, 1.0, ObjectiveConfig())
    terms.loss.backward()
    assert torch.isfinite(terms.loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_beta_weights_and_regulariser_enter_as_in_eq_2(model: SMVAE):
    model.eval()
    batch, full = example_batch(model, 4), presence(model, 4, *model.names)

    def terms(beta: float, **changes):
        generator = torch.Generator().manual_seed(0)
        return elbo(model, batch, full, full, beta, ObjectiveConfig(**changes), generator)

    plain = terms(1.0)
    torch.testing.assert_close(plain.loss, -plain.elbo)
    torch.testing.assert_close(plain.loss - terms(0.25).loss, 0.75 * plain.kl, rtol=1e-3, atol=1e-2)
    doubled = terms(1.0, weights={"force": 2.0})
    difference = plain.loss - doubled.loss
    torch.testing.assert_close(difference, plain.log_likelihood["force"], rtol=1e-3, atol=1e-2)
    penalty = model.encode(batch, full).regulariser().mean()
    torch.testing.assert_close(
        terms(1.0, regulariser=10.0).loss - plain.loss, 10.0 * penalty, rtol=1e-3, atol=1e-2
    )


def test_balance_lifts_small_modalities_by_their_share_of_elements(model: SMVAE):
    rgb, _, _, action = model.config.modalities
    half = ObjectiveConfig(balance=0.5, weights={"action": 3.0})
    assert half.weight(action, model.config.modalities) == pytest.approx(3 * (3072 / 4) ** 0.5)
    assert half.weight(rgb, model.config.modalities) == 1.0
    assert ObjectiveConfig().weight(action, model.config.modalities) == 1.0
    with pytest.raises(ConfigError, match=r"balance must lie in \[0, 1\]"):
        ObjectiveConfig(balance=2.0)


def test_a_weight_for_an_unknown_modality_is_refused(model: SMVAE):
    full = presence(model, 2, *model.names)
    with pytest.raises(UnknownModality, match="'colour'"):
        elbo(
            model,
            example_batch(model, 2),
            full,
            full,
            1.0,
            ObjectiveConfig(weights={"colour": 2.0}),
        )


def test_an_unknown_target_is_refused():
    # with shape checking on, the annotation itself refuses first
    with pytest.raises((ConfigError, TypeCheckError), match=r"'observed'.*'subset'"):
        ObjectiveConfig(target="all")  # type: ignore[arg-type]


def terms(model: SMVAE, present: torch.Tensor, **config: object):
    batch = example_batch(model, len(present))
    everything = torch.ones_like(present)
    draws = torch.Generator().manual_seed(3)
    model.eval()  # one more row in BatchNorm's statistics is not what is compared
    return elbo(model, batch, everything, present, 1.0, ObjectiveConfig(**config), draws)


@pytest.mark.parametrize("target", ["subset", "observed", "remaining", "joint"])
def test_all_targets_are_the_same_bound_when_everything_is_observed(model: SMVAE, target: str):
    everything = presence(model, 6, *model.names)
    expected, found = (
        terms(model, everything, target="subset"),
        terms(model, everything, target=target),
    )
    torch.testing.assert_close(found.loss, expected.loss)
    torch.testing.assert_close(found.elbo, expected.elbo)


def test_remaining_draws_what_was_observed_from_the_subsets_posterior(model: SMVAE):
    subset = presence(model, 6, "force", "action")
    expected, found = (
        terms(model, subset, target="subset"),
        terms(model, subset, target="remaining"),
    )
    for name in ("force", "action"):
        torch.testing.assert_close(found.log_likelihood[name], expected.log_likelihood[name])
    assert set(found.log_likelihood) == set(model.names)


def test_joint_reconstructs_from_everything_whatever_the_subset(model: SMVAE):
    few, more = presence(model, 6, "force"), presence(model, 6, "rgb", "force")
    a, b = (terms(model, s, target="joint", matching=0.0) for s in (few, more))
    torch.testing.assert_close(a.loss, b.loss)
    matched = terms(model, few, target="joint", matching=0.5)
    assert matched.loss > a.loss
    torch.testing.assert_close(matched.elbo, a.elbo)


def test_matching_adds_its_weight_times_the_divergence_of_the_posteriors(model: SMVAE):
    subset, everything = presence(model, 6, "force"), presence(model, 6, *model.names)
    without = terms(model, subset, target="joint", matching=0.0)
    matched = terms(model, subset, target="joint", matching=0.5)
    batch = example_batch(model, 6)
    gap = model.encode(batch, everything).kl_to(model.encode(batch, subset)).mean()
    torch.testing.assert_close(matched.loss - without.loss, 0.5 * gap, rtol=1e-3, atol=2e-3)


def test_matching_teaches_the_subsets_posterior_alone(model: SMVAE):
    """What only q(z|X) has seen gets no gradient from it."""
    subset = presence(model, 6, "force")

    def gradients(matching: float) -> dict[str, torch.Tensor]:
        model.zero_grad()
        terms(model, subset, target="joint", matching=matching).loss.backward()
        networks = {name: model.embeddings[name] for name in ("rgb", "force")}
        return {n: next(e.parameters()).grad.clone() for n, e in networks.items()}

    without, matched = gradients(0.0), gradients(5.0)
    torch.testing.assert_close(matched["rgb"], without["rgb"])
    assert not torch.allclose(matched["force"], without["force"])


def test_a_second_bound_adds_what_its_own_target_would_give(model: SMVAE):
    subset = presence(model, 6, "rgb", "force")
    alone = terms(model, subset, target="joint", matching=0.0)
    for second in ("subset", "observed"):
        both = terms(model, subset, target="joint", matching=0.0, second_bound=second)
        own = terms(model, subset, target=second)
        # other latent samples than its own target's, hence roughly
        torch.testing.assert_close(both.loss, alone.loss + own.loss, rtol=0.02, atol=0)
        torch.testing.assert_close(both.elbo, alone.elbo)
    with pytest.raises(ConfigError, match="second-bound belongs to target 'joint'"):
        ObjectiveConfig(second_bound="subset")


def test_of_a_uniform_subset_the_complement_is_uniform_over_all_subsets():
    recorded = torch.ones(15, 4, dtype=torch.bool)
    every = torch.tensor([[bool(code >> m & 1) for m in range(4)] for code in range(1, 16)])
    rest = complement(recorded, every)
    assert sorted(map(tuple, rest.tolist())) == sorted(map(tuple, every.tolist()))
    assert not (rest & every)[:-1].any(), "a proper subset shares nothing with its complement"
    recorded[0, 2] = False  # of the first record: what was not recorded is in neither
    assert complement(recorded, every)[0].tolist() == [False, True, False, True]


@pytest.mark.parametrize("target", ["observed", "subset"])
def test_with_its_complement_a_subset_gives_the_mean_of_both_bounds(model: SMVAE, target: str):
    model.eval()
    batch, recorded = example_batch(model, 4), presence(model, 4, *model.names)
    present, rest = presence(model, 4, "rgb", "force"), presence(model, 4, "depth", "action")
    draws = torch.Generator().manual_seed(3)
    alone = ObjectiveConfig(target=target, regulariser=2.0)  # type: ignore[arg-type]
    both = replace(alone, complement=True)
    found = elbo(model, batch, recorded, present, 0.5, both, draws)
    draws = torch.Generator().manual_seed(3)
    each = [elbo(model, batch, recorded, s, 0.5, alone, draws).loss for s in (present, rest)]
    torch.testing.assert_close(found.loss, sum(each) / 2, rtol=1e-5, atol=1e-2)
    with pytest.raises(ConfigError, match=r"complement belongs to .* not to 'joint'"):
        ObjectiveConfig(target="joint", complement=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matching": math.nan}, "matching must not be negative, got nan"),
        ({"regulariser": math.nan}, "regulariser must be 0 or more"),
        ({"weights": {"force": math.nan}}, "weights must be 0 or more, and finite"),
        ({"weights": {"force": math.inf}}, "weights must be 0 or more, and finite"),
        ({"balance": math.nan}, "balance must lie in"),
    ],
)
def test_a_weight_that_is_no_number_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ObjectiveConfig(**settings)
