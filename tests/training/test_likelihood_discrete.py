"""Calibration against integrals and by hand; coherence of a painter who errs where told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from smvae_core.errors import ConfigError
from smvae_core.model.config import ModelConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.presets import CELEBA, MNIST
from smvae_training.evaluate.likelihood.calibration import (
    CalibrationConfig,
    calibrate,
    calibration_error,
)
from smvae_training.evaluate.likelihood.coherence import (
    Classifier,
    ClassifierConfig,
    measure_coherence,
    train_classifier,
)
from smvae_training.evaluate.likelihood.method import SMVAEMethod
from smvae_training.evaluate.likelihood.mixture import Mixture
from tests.training.likelihood_toys import Labelled, LinearGaussian, Painter, bars


def test_label_probability_is_the_integral_over_the_posterior():
    model = Labelled()
    inputs = model.draw(30)
    found = calibrate(model, inputs, CalibrationConfig(samples=4000))
    q = model.exact(inputs, ("x",))
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 1, 2)
    weight = np.outer(weights, weights).reshape(-1) / (2 * np.pi)
    z = q.mean[0] + torch.exp(0.5 * q.log_var[0]) * torch.tensor(grid, dtype=torch.float32)
    p = model.decode(z.reshape(-1, 2), ["label"])["label"].softmax(1).reshape(len(grid), 30, 3)
    integral = np.einsum("k,kbc->bc", weight, p.numpy())
    np.testing.assert_allclose(found.probability, integral, atol=0.03)
    np.testing.assert_allclose(found.probability.sum(1), 1.0, rtol=1e-5)
    score = np.log(found.probability[np.arange(30), inputs["label"].argmax(1)])
    np.testing.assert_allclose(found.log_score(), score, rtol=1e-5)


def test_the_true_posterior_is_calibrated_and_a_sure_one_is_not():
    def sure(toy: LinearGaussian, batch: Mapping[str, Tensor], subset: tuple[str, ...]) -> Mixture:
        q = toy.exact(batch, ("x",))
        return Mixture(q.mean, q.log_var - 8.0)

    inputs = Labelled().draw(20_000)
    true = calibrate(Labelled(), inputs).to_json()
    over = calibrate(Labelled(q=sure), inputs).to_json()
    assert true["calibration_error"] < 0.015
    assert over["calibration_error"] > 0.08
    assert true["accuracy"]["mean"] == pytest.approx(over["accuracy"]["mean"], abs=0.01)
    assert true["log_score"]["mean"] > over["log_score"]["mean"] + 0.05


def test_calibration_error_by_hand():
    label = MNIST[1]
    sure = np.full((10, 10), 0.1 / 9, np.float32)
    sure[:, 2] = 0.9
    truth = np.array([2] * 6 + [5] * 4)
    assert calibration_error(label, sure, truth) == pytest.approx(0.3, abs=1e-5)
    attributes = CELEBA[1]
    present = np.full((10, 18), 0.7, np.float32)
    half = np.tile(np.arange(10)[:, None] < 5, (1, 18)).astype(np.int64)
    present[:, 9:] = 0.45
    error = (0.2 + 0.05) / 2  # two bins, each with half of the attributes
    assert calibration_error(attributes, present, half) == pytest.approx(error, abs=1e-5)


def test_attributes_are_scored_one_by_one_and_pooled():
    torch.manual_seed(0)
    method = SMVAEMethod(SMVAE(ModelConfig(modalities=CELEBA, latent_dim=4, embedding_dim=16)))
    inputs = {m.name: torch.from_numpy(m.example(6)) for m in CELEBA}
    found = calibrate(method, inputs, CalibrationConfig(samples=50))
    text = json.loads(json.dumps(found.to_json(), allow_nan=False))
    each = [a["accuracy"] for a in text["by_attribute"].values()]
    assert list(text["by_attribute"]) == list(CELEBA[1].fields)
    assert text["accuracy"]["mean"] == pytest.approx(np.mean(each))
    truth = inputs["attributes"].numpy() == 1
    np.testing.assert_array_equal(found.correct(), (found.probability > 0.5) == truth)
    likelihood = np.where(truth, found.probability, 1 - found.probability)
    np.testing.assert_allclose(found.log_score(), np.log(likelihood).sum(1), rtol=1e-5)
    assert found.probability.shape == (6, len(CELEBA[1].fields))


def test_calibration_of_an_image_is_refused():
    torch.manual_seed(0)
    method = SMVAEMethod(SMVAE(ModelConfig(modalities=MNIST, latent_dim=4, embedding_dim=16)))
    inputs = {m.name: torch.from_numpy(m.example(2)) for m in MNIST}
    with pytest.raises(ConfigError, match="needs a label or attributes, 'image' is grey_image"):
        calibrate(method, inputs, target="image", given=("label",))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (1200,), generator=rng)
    images = 0.7 * bars(labels) + 0.3 * torch.rand(1200, 1, 28, 28, generator=rng)
    settings = ClassifierConfig(epochs=4, batch=50)
    return train_classifier(images[:1000], labels[:1000], images[1000:], labels[1000:], settings)


def test_the_classifier_learns_and_states_its_accuracy_on_images_it_never_saw(
    classifier: Classifier, tmp_path: Path
):
    assert classifier.accuracy > 0.98
    wrong = (torch.arange(10) + 1) % 10
    settings = ClassifierConfig(epochs=30, batch=10)
    mistaught = train_classifier(
        bars(torch.arange(10)), torch.arange(10), bars(torch.arange(10)), wrong, settings
    )
    assert mistaught.accuracy < 0.5
    classifier.save(tmp_path / "classifier.pt")
    again = Classifier.load(tmp_path / "classifier.pt")
    images = torch.rand(50, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.classify(images), classifier.classify(images))
    assert (again.accuracy, again.classes) == (classifier.accuracy, 10)


def test_images_that_are_no_levels_are_refused():
    two, levels = torch.zeros(2, dtype=torch.long), torch.full((2, 1, 28, 28), 255.0)
    with pytest.raises(ConfigError, match=r"28x28 images in \[0, 1\], got \(2, 1, 28, 28\)"):
        train_classifier(levels, two, levels, two)
    holes = levels / 255.0
    holes[0, 0, 3, 3] = float("nan")
    with pytest.raises(ConfigError, match=r"in \[0, 1\].* from nan to nan"):
        train_classifier(holes, two, holes, two)


def test_coherent_generation_scores_one(classifier: Classifier):
    found = measure_coherence(Painter(), classifier, samples=20)
    text = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert text["label_to_image"]["mean"] == text["joint_from_prior"]["mean"] == 1.0
    assert len(found.joint_label) == 200
    assert sum(text["labels_from_prior"].values()) == pytest.approx(1.0)


def test_a_class_painted_wrongly_is_found_out_from_its_label_and_from_the_prior(
    classifier: Classifier,
):
    text = measure_coherence(Painter(wrong=3), classifier, samples=20).to_json()
    assert text["label_to_image_by_class"] == {c: float(c != "3") for c in "0123456789"}
    assert text["label_to_image"]["mean"] == pytest.approx(0.9)
    missed = 1 - text["joint_from_prior"]["mean"]
    assert missed == pytest.approx(text["labels_from_prior"]["3"])
    assert missed > 0


def test_coherence_needs_an_image_and_a_label(classifier: Classifier):
    with pytest.raises(ConfigError, match="coherence needs an image and a label, toy has"):
        measure_coherence(Labelled(), classifier)
    fewer = Classifier(network=classifier.network, channels=1, classes=4, accuracy=1.0, seconds=0.0)
    with pytest.raises(ConfigError, match="the classifier knows 4 classes, label 10"):
        measure_coherence(Painter(), fewer)
