"""The estimator meets exact likelihoods, and its checks catch the errors of published tables."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from smvae_core.errors import ConfigError, EmptySubset, UnknownModality
from smvae_core.model.config import ModelConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.presets import MNIST
from smvae_training.evaluate.likelihood.checks import SanityError, sanity_checks
from smvae_training.evaluate.likelihood.estimate import (
    EstimateConfig,
    Estimates,
    estimate,
    log_prior_predictive,
)
from smvae_training.evaluate.likelihood.method import SMVAEMethod
from smvae_training.evaluate.likelihood.mixture import Mixture, log_standard_normal
from smvae_training.evaluate.likelihood.summary import mean_and_error, reach, standard_error
from tests.training.likelihood_toys import LinearGaussian, Q, shifted, true_and_far

SIZES = {"x": 4, "y": 3}
SETTINGS = EstimateConfig(samples=400, prior_samples=20_000, items=None, seed=3)


def toy(q: Q | None = None, scale: float = 0.5) -> LinearGaussian:
    return LinearGaussian(SIZES, q=q, scale=scale)


def exact(model: LinearGaussian, inputs: dict[str, Tensor], *names: str) -> np.ndarray:
    return model.log_evidence(inputs, names).numpy()


@pytest.fixture(scope="module")
def digits() -> tuple[SMVAEMethod, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = SMVAE(ModelConfig(modalities=MNIST, latent_dim=8, embedding_dim=32))
    inputs = {m.name: torch.from_numpy(m.example(12, seed=2)) for m in MNIST}
    inputs["image"] = (inputs["image"] > 0.5).float()
    return SMVAEMethod(model), inputs


@pytest.mark.parametrize("samples", [1, 3, 50])
def test_with_the_true_posterior_every_number_of_samples_gives_the_exact_value(samples: int):
    model = toy()
    inputs = model.draw(20)
    found = estimate(model, inputs, replace(SETTINGS, samples=samples)).proposals
    joint, marginal = exact(model, inputs, "x", "y"), exact(model, inputs, "x")
    np.testing.assert_allclose(found["x+y"].joint, joint, atol=2e-4)
    np.testing.assert_allclose(found["x"].marginal, marginal, atol=2e-4)
    np.testing.assert_allclose(found["x+y"].ess_joint, samples, rtol=1e-3)


def test_with_a_poor_proposal_all_four_meet_the_exact_values_within_their_error():
    model = toy(shifted)
    inputs = model.draw(200)
    found = estimate(model, inputs, SETTINGS)
    log_p_y = exact(model, inputs, "y")
    assert abs((found.prior.log_p - log_p_y).mean()) < 4 * found.prior.draws_error
    assert 0.001 < found.prior.draws_error < 0.05
    for values in found.proposals.values():
        for name, names in (("joint", ("x", "y")), ("marginal", ("x",))):
            ess = getattr(values, f"ess_{name}")
            assert 10 < np.median(ess) < 0.95 * SETTINGS.samples
            difference = getattr(values, name) - exact(model, inputs, *names)
            error = mean_and_error(difference)
            bias = (0.5 / ess).mean()  # of the log of a mean, to first order
            assert abs(difference.mean() + bias) < 4 * error["standard_error"] + 2e-3
        conditional = exact(model, inputs, "x", "y") - log_p_y
        assert abs((values.conditional - conditional).mean()) < 0.05


@pytest.mark.parametrize("samples", [2, 7, 400])
def test_a_component_without_mass_costs_samples_but_moves_no_estimate(samples: int):
    """One component for all samples would add ln 2, each component's own density take it away."""
    model = toy(true_and_far)
    inputs = model.draw(10)
    values = estimate(model, inputs, replace(SETTINGS, samples=samples)).proposals["x+y"]
    np.testing.assert_allclose(values.joint, exact(model, inputs, "x", "y"), atol=1e-3)
    np.testing.assert_allclose(values.ess_joint, -(-samples // 2), rtol=1e-3)


def test_mixture_density_and_samples_equal_those_of_torch():
    rng = torch.Generator().manual_seed(0)
    mixture = Mixture(torch.randn(3, 5, 2, generator=rng), torch.randn(3, 5, 2, generator=rng))
    components = torch.distributions.Independent(
        torch.distributions.Normal(
            mixture.mean.transpose(0, 1), torch.exp(0.5 * mixture.log_var).transpose(0, 1)
        ),
        1,
    )
    even = torch.distributions.Categorical(torch.ones(5, 3))
    truth = torch.distributions.MixtureSameFamily(even, components)
    z = mixture.place(torch.randn(6001, 5, 2, generator=rng))
    np.testing.assert_allclose(mixture.log_prob(z), truth.log_prob(z), atol=1e-4)
    share = mixture.log_share(6001)[:, None, None].exp()
    np.testing.assert_allclose(share.sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose((share * z).sum(0), truth.mean, atol=0.08)
    spread = (share * (z - truth.mean) ** 2).sum(0)
    np.testing.assert_allclose(spread, truth.variance, rtol=0.1)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    np.testing.assert_allclose(log_standard_normal(z), normal, atol=1e-4)


def test_every_component_gets_a_sample_or_the_mixture_refuses():
    mixture = Mixture(torch.zeros(3, 1, 2), torch.zeros(3, 1, 2))
    with pytest.raises(ConfigError, match="2 samples of a mixture of 3"):
        mixture.place(torch.zeros(2, 1, 2))
    with pytest.raises(ConfigError, match="a mixture needs mean and log_var"):
        Mixture(torch.zeros(1, 2), torch.zeros(1, 2))


def test_estimates_depend_neither_on_memory_nor_on_which_other_items_are_scored():
    model = toy(shifted)
    inputs = model.draw(300)
    few = estimate(model, inputs, replace(SETTINGS, items=30))
    assert list(few.index[:3]) == [0, 10, 20]
    every = estimate(model, inputs, replace(SETTINGS, chunk=150))
    for subset, values in few.proposals.items():
        for name, array in vars(values).items():
            other = getattr(every.proposals[subset], name)[few.index]
            if not name.startswith(("ess", "conditional")):
                np.testing.assert_allclose(array, other, atol=1e-4)
    other = estimate(model, inputs, replace(SETTINGS, items=30, seed=4))
    assert np.abs(other.proposals["x"].joint - few.proposals["x"].joint).max() > 1e-3


def test_smvae_is_scored_with_bernoulli_and_categorical_of_torch_unweighted(
    digits: tuple[SMVAEMethod, dict[str, Tensor]],
):
    method, inputs = digits
    z = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        outputs = method.decode(z, ("image", "label"))
        pixel = torch.distributions.Bernoulli(logits=outputs["image"][:, None])
        image = pixel.log_prob(inputs["image"][None]).sum((-1, -2, -3))
        found = method.log_likelihood("image", inputs["image"], outputs["image"][:, None])
        np.testing.assert_allclose(found, image, rtol=1e-5)
        classes = torch.distributions.OneHotCategorical(logits=outputs["label"][:, None])
        found = method.log_likelihood("label", inputs["label"], outputs["label"][:, None])
        np.testing.assert_allclose(found, classes.log_prob(inputs["label"]), atol=1e-5)


def test_smvae_posterior_of_a_subset_reads_nothing_else(
    digits: tuple[SMVAEMethod, dict[str, Tensor]],
):
    method, inputs = digits
    with torch.inference_mode():
        alone = method.proposal({"image": inputs["image"]}, ("image",))
        spoilt = inputs | {"label": torch.full_like(inputs["label"], math.nan)}
        assert torch.equal(method.proposal(spoilt, ("image",)).mean, alone.mean)
    with pytest.raises(UnknownModality, match="unknown modality 'lable'"):
        method.proposal(inputs, ("lable",))
    with pytest.raises(EmptySubset, match="no observed modality"):
        method.proposal(inputs, ())


def test_all_checks_of_a_discrete_second_modality_pass_and_go_into_json(
    digits: tuple[SMVAEMethod, dict[str, Tensor]],
):
    found = estimate(*digits, EstimateConfig(samples=30, prior_samples=500, chunk=100))
    results = sanity_checks(found, require=True)
    assert len(results) == 2 + 2 * 5
    assert all(r["passed"] for r in results)
    for values in found.proposals.values():
        assert (values.joint <= values.marginal + 1e-6).all()
        assert (values.marginal - values.joint > 0.1).any()
    assert found.prior.mass == pytest.approx(1.0, abs=1e-6)
    text = json.loads(json.dumps(found.to_json() | {"checks": results}, allow_nan=False))
    assert text["proposals"]["image+label"]["joint"]["standard_error"] > 0
    assert set(found.arrays()) >= {"index", "log_p_y", "image/joint", "image+label/ess_marginal"}
    assert all(len(array) == 12 for array in found.arrays().values())


def broken(found: Estimates, **changes: np.ndarray) -> Estimates:
    values = replace(found.proposals["image"], **changes)
    return replace(found, proposals=found.proposals | {"image": values})


def test_checks_name_what_the_papers_table_gets_wrong(
    digits: tuple[SMVAEMethod, dict[str, Tensor]],
):
    found = estimate(*digits, EstimateConfig(samples=5, prior_samples=100))
    good = found.proposals["image"]
    one = np.arange(12) == 4  # a single item is enough
    above = broken(found, joint=np.where(one, good.marginal + 5.97, good.joint))
    with pytest.raises(SanityError, match=r"joint <= marginal, q\(z\|image\): 5.97, at most"):
        sanity_checks(above, require=True)
    below = broken(found, conditional=np.where(one, good.joint - 3.0, good.conditional))
    failed = [c["name"] for c in sanity_checks(below) if not c["passed"]]
    assert failed == [
        f"{name}, q(z|image)" for name in ("joint <= conditional", "conditional = joint - log p(y)")
    ]
    nan = broken(found, joint=np.full(12, np.nan))
    assert not all(c["passed"] for c in sanity_checks(nan))


def test_a_label_weight_is_caught_since_its_classes_no_longer_sum_to_one(
    digits: tuple[SMVAEMethod, dict[str, Tensor]],
):
    method, inputs = digits

    class Weighted(SMVAEMethod):
        def log_likelihood(self, name: str, x: Tensor, output: Tensor) -> Tensor:
            return super().log_likelihood(name, x, output) * (10.0 if name == "label" else 1.0)

    found = estimate(Weighted(method.model), inputs, EstimateConfig(samples=5, prior_samples=100))
    with pytest.raises(SanityError, match="sum of p\\(y\\) is 1"):
        sanity_checks(found, require=True)


def test_the_stated_error_of_log_p_y_is_the_spread_over_draws():
    model = toy()
    y = model.draw(50)["y"]
    like = torch.zeros(1, 2)
    runs = [
        log_prior_predictive(model, "y", y, draws=500, seed=seed, like=like) for seed in range(60)
    ]
    spread = np.std([run.log_p.mean() for run in runs], ddof=1)
    assert np.mean([run.draws_error for run in runs]) == pytest.approx(spread, rel=0.3)


def test_equal_labels_share_one_log_p_y(digits: tuple[SMVAEMethod, dict[str, Tensor]]):
    method, inputs = digits
    labels = inputs["label"]
    like = torch.zeros(1, 8)
    with torch.inference_mode():
        found = log_prior_predictive(method, "label", labels, draws=300, seed=0, like=like)
        alone = log_prior_predictive(method, "label", labels[3:4], draws=300, seed=0, like=like)
    assert found.log_p[3] == pytest.approx(alone.log_p[0], abs=1e-9)
    same = labels.argmax(1) == labels[3].argmax()
    assert len(set(found.log_p[same.numpy()])) == 1


def test_a_proposal_the_method_lacks_is_null_with_its_reason():
    model = LinearGaussian(SIZES, encodes=lambda subset: len(subset) == 2)
    found = estimate(model, model.draw(4), replace(SETTINGS, samples=4))
    text = found.to_json()
    assert text["proposals"]["x"] is None
    assert text["refused"] == {"x": "toy has no posterior given x"}
    assert set(found.proposals) == {"x+y"}


def test_inputs_that_cannot_be_scored_are_refused_in_one_line():
    model = toy()
    inputs = model.draw(4)
    with pytest.raises(ConfigError, match=r"toy needs \['y'\], the inputs hold \['x'\]"):
        estimate(model, {"x": inputs["x"]})
    with pytest.raises(ConfigError, match="same number of items"):
        estimate(model, inputs | {"y": inputs["y"][:2]})
    with pytest.raises(ConfigError, match="two modalities x and y are needed"):
        estimate(LinearGaussian({"x": 3}), {"x": inputs["x"]})
    with pytest.raises(ConfigError, match="samples must be at least 1, got 0"):
        EstimateConfig(samples=0)


def test_means_and_errors_by_hand_also_where_items_come_in_groups():
    values = np.array([1.0, 3.0, 5.0, 7.0])
    assert mean_and_error(values) == {"mean": 4.0, "standard_error": pytest.approx(1.2909944)}
    grouped = mean_and_error(values, np.array([0, 0, 1, 1]))  # group means 2 and 6
    assert grouped["standard_error"] == pytest.approx(np.std([2, 6], ddof=1) / math.sqrt(2))
    assert mean_and_error(values[:1]) == {"mean": 1.0, "standard_error": None}


def test_intervals_of_three_values_hold_the_mean_in_95_of_100_cases():
    each = np.random.default_rng(0).standard_normal((4000, 3))
    held = [abs(one.mean()) <= reach(3) * standard_error(one) for one in each]
    assert np.mean(held) == pytest.approx(0.95, abs=0.01)
    assert math.isnan(reach(1))
