"""Every subset: predictive, expected and evidence meet exact values; entropy and its falls."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.paper.subset_scores import subset_checks
from smvae_core.modality import all_subsets, subset_name
from smvae_core.model.config import ModelConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.presets import vision_touch
from smvae_training.evaluate.likelihood.checks import SanityError
from smvae_training.evaluate.likelihood.entropy import posterior_entropies
from smvae_training.evaluate.likelihood.method import SMVAEMethod
from smvae_training.evaluate.likelihood.mixture import Mixture
from smvae_training.evaluate.likelihood.sampling import SamplingConfig
from smvae_training.evaluate.likelihood.subsets import (
    SubsetConfig,
    SubsetLikelihoods,
    subset_likelihoods,
)
from tests.training.likelihood_toys import LinearGaussian, shifted, true_and_far

SIZES = {"a": 3, "b": 4, "c": 2}
LABELS = [subset_name(s) for s in all_subsets(tuple(SIZES))]
SETTINGS = SubsetConfig(samples=2000, items=30, chunk=4000)


def predictive(
    model: LinearGaussian, q: Mixture, inputs: Mapping[str, Tensor], *names: str
) -> np.ndarray:
    """Return the exact log of E_q prod p(x_m|z), q being Gaussian: a Gaussian of x once more."""
    a = torch.cat([model.a[n] for n in names]).double()
    b = torch.cat([model.b[n] for n in names]).double()
    noise = torch.cat([torch.full((len(model.b[n]),), model.scale[n] ** 2) for n in names])
    mean = q.mean[0].double() @ a.T + b
    spread = torch.einsum("iz,bz,jz->bij", a, q.log_var[0].double().exp(), a)
    covariance = spread + torch.diag(noise.double())
    x = torch.cat([inputs[n] for n in names], dim=1).double()
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x).numpy()


@pytest.fixture(scope="module")
def shifted_toy() -> tuple[LinearGaussian, dict[str, Tensor], SubsetLikelihoods]:
    model = LinearGaussian(SIZES, q=shifted)
    inputs = model.draw(30)
    return model, inputs, subset_likelihoods(model, inputs, SETTINGS)


@pytest.mark.parametrize("subset", all_subsets(tuple(SIZES)), ids=subset_name)
def test_given_each_subset_all_three_likelihoods_meet_the_exact_values(
    shifted_toy: tuple[LinearGaussian, dict[str, Tensor], SubsetLikelihoods],
    subset: tuple[str, ...],
):
    """The posterior is a poor one: predictive belongs to it, evidence to the model alone."""
    model, inputs, results = shifted_toy
    found = results.subsets[subset_name(subset)]
    q = shifted(model, inputs, subset)
    together = predictive(model, q, inputs, *SIZES)
    np.testing.assert_allclose(found.predictive, together, atol=0.6)
    assert (found.predictive - together).mean() == pytest.approx(0, abs=0.05)
    for name in SIZES:
        alone = predictive(model, q, inputs, name)
        assert (found.each[name] - alone).mean() == pytest.approx(0, abs=0.03)
        deviation = inputs[name] - model.decode(q.mean[0], [name])[name]
        spread = (model.a[name].square() @ q.log_var[0].exp().T).sum(0)
        scale = model.scale[name]
        expected = -0.5 * (deviation.square().sum(1) + spread) / scale**2 - SIZES[name] * (
            math.log(scale) + 0.5 * math.log(2 * math.pi)
        )
        assert (found.expected[name] - expected.numpy()).mean() == pytest.approx(0, abs=0.1)
    evidence = model.log_evidence(inputs, subset).numpy()
    assert np.abs(found.evidence - evidence).max() < 0.25
    assert (found.evidence - evidence).mean() == pytest.approx(0, abs=0.02)
    assert 50 < found.ess.min() < 1900


def test_a_true_posterior_needs_one_sample_for_the_evidence():
    model = LinearGaussian(SIZES)
    inputs = model.draw(10)
    found = subset_likelihoods(model, inputs, SubsetConfig(samples=1))
    for subset in all_subsets(model.names):
        exact = model.log_evidence(inputs, subset)
        np.testing.assert_allclose(found.subsets[subset_name(subset)].evidence, exact, atol=5e-4)


def test_mixtures_are_weighed_by_their_shares_where_samples_do_not_divide():
    model = LinearGaussian(SIZES, q=true_and_far)
    inputs = model.draw(10)
    found = subset_likelihoods(model, inputs, SubsetConfig(samples=7), subsets=[("a", "b", "c")])
    exact = model.log_evidence(inputs, ("a", "b", "c"))
    np.testing.assert_allclose(found.subsets["a+b+c"].evidence, exact, atol=1e-3)


def test_refused_subsets_are_null_and_leave_no_mean_over_all_subsets():
    model = LinearGaussian(SIZES, encodes=lambda subset: len(subset) != 2)
    inputs = model.draw(6)
    found = subset_likelihoods(model, inputs, SubsetConfig(samples=5))
    text = found.to_json()
    assert text["subsets"]["a+b"] is None
    assert text["refused"]["b+c"] == "toy has no posterior given b+c"
    assert text["mean_predictive"] is None
    entropies = posterior_entropies(model, inputs, SamplingConfig(samples=5)).to_json()
    assert entropies["subsets"]["a+c"] is None
    assert entropies["pairs"] == 0
    assert entropies["share_not_rising"] is None
    json.dumps([text, entropies], allow_nan=False)


def test_results_of_a_robot_model_go_into_json_with_errors_over_trajectories():
    modalities = vision_touch(32)
    torch.manual_seed(0)
    model = SMVAE(ModelConfig(modalities=modalities, latent_dim=4, embedding_dim=16))
    method = SMVAEMethod(model)
    inputs = {m.name: torch.from_numpy(m.example(8)) for m in modalities}
    found = subset_likelihoods(method, inputs, SubsetConfig(samples=3, items=4))
    trajectory = np.repeat([0, 1], 4)
    text = json.loads(json.dumps(found.to_json(trajectory), allow_nan=False))
    assert (text["items"], text["groups"], len(text["subsets"])) == (4, 2, 15)
    mean = np.mean([s["predictive"]["mean"] for s in text["subsets"].values()])
    assert text["mean_predictive"]["mean"] == pytest.approx(mean)
    arrays = found.arrays()
    assert len(arrays) == 1 + 15 * (3 + 2 * 4)
    total = sum(arrays[f"force/expected/{m.name}"] for m in modalities)
    assert (arrays["force/predictive"] >= total).all()  # Jensen
    assert all(check["passed"] for check in subset_checks(found))
    assert method.noise_scale() == pytest.approx({m.name: 0.3 for m in modalities})


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"predictive": np.full(6, -1e6)}, "expected <= predictive, all modalities"),
        ({"each": {n: np.full(6, np.nan) for n in SIZES}}, "expected <= predictive, each modality"),
        ({"ess": np.full(6, 5.1)}, "1 <= ess <= K"),
    ],
)
def test_estimates_of_subsets_that_contradict_each_other_are_refused(
    change: dict[str, Any], failed: str
):
    model = LinearGaussian(SIZES)
    found = subset_likelihoods(model, model.draw(6), SubsetConfig(samples=5))
    assert all(check["passed"] for check in subset_checks(found, require=True))
    broken = {**found.subsets, "a+b": replace(found.subsets["a+b"], **change)}
    with pytest.raises(SanityError, match="contradict each other") as error:
        subset_checks(replace(found, subsets=broken), require=True)
    assert failed in str(error.value)


def test_entropy_of_a_true_posterior_is_exact_and_never_rises():
    model = LinearGaussian(SIZES)
    inputs = model.draw(20)
    found = posterior_entropies(model, inputs)
    assert found.exact
    for subset, values in found.entropy.items():
        q = model.exact(inputs, subset)
        normal = torch.distributions.Normal(q.mean[0], torch.exp(0.5 * q.log_var[0]))
        np.testing.assert_allclose(values, normal.entropy().sum(1), atol=1e-5)
    text = found.to_json()
    assert text["pairs"] == 9
    assert text["share_not_rising"] == text["share_of_items_never_rising"] == 1.0
    assert text["largest_rise"] < 0
    means = [text["by_count"][n]["mean"] for n in "123"]
    assert means == sorted(means, reverse=True)


def test_a_rise_is_counted_for_its_items_and_its_pair():
    def surprised(
        toy: LinearGaussian, batch: Mapping[str, Tensor], subset: tuple[str, ...]
    ) -> Mixture:
        q = toy.exact(batch, subset)
        wide = (torch.arange(q.items) < 5)[None, :, None] & torch.tensor(subset == ("a", "b"))
        return Mixture(q.mean, q.log_var + 9.0 * wide)

    model = LinearGaussian(SIZES, q=surprised)
    found = posterior_entropies(model, model.draw(20))
    text = found.to_json()
    assert text["pairs_not_rising"]["a -> a+b"] == 0.75
    assert text["pairs_not_rising"]["a+b -> a+b+c"] == 1.0
    assert text["share_not_rising"] == pytest.approx(1 - 2 * 5 / (9 * 20))
    assert text["share_of_items_never_rising"] == 0.75
    assert text["largest_rise"] == pytest.approx(found.changes()["a -> a+b"].max())


def test_equal_entropy_counts_as_staying():
    def constant(
        toy: LinearGaussian, batch: Mapping[str, Tensor], subset: tuple[str, ...]
    ) -> Mixture:
        mean = torch.zeros(1, len(batch["a"]), 2)
        return Mixture(mean, mean + 1e-8 * len(subset))

    model = LinearGaussian(SIZES, q=constant)
    assert posterior_entropies(model, model.draw(3)).share_not_rising() == 1.0


def test_entropy_of_a_mixture_of_two_far_components_is_that_of_one_plus_ln_2():
    model = LinearGaussian(SIZES, q=true_and_far)
    inputs = model.draw(4)
    found = posterior_entropies(model, inputs, SamplingConfig(samples=4001))
    single = posterior_entropies(LinearGaussian(SIZES), inputs)
    assert not found.exact
    for subset, values in found.entropy.items():
        np.testing.assert_allclose(values, single.entropy[subset] + math.log(2), atol=0.08)


def test_an_entropy_that_is_no_number_is_the_largest_rise():
    model = LinearGaussian(SIZES)
    found = posterior_entropies(model, model.draw(4))
    holed = {s: v * np.nan if len(s) == 3 else v for s, v in found.entropy.items()}
    assert found.to_json()["largest_rise"] is not None
    assert replace(found, entropy=holed).to_json()["largest_rise"] is None
