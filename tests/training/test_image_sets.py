"""Image-set runs: the evaluation of an image and its label, and of many modalities."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smvae_core.model.smvae import SMVAE
from smvae_core.presets import CELEBA
from smvae_training.evaluate.images.errors import subset_errors
from smvae_training.evaluate.images.evaluate import evaluate_image_run
from smvae_training.evaluate.images.items import read_items
from smvae_training.evaluate.images.pictures import pictures
from smvae_training.evaluate.images.sections import score_lines
from smvae_training.evaluate.images.settings import ImageEvaluateConfig
from smvae_training.evaluate.likelihood.checks import SanityError, subset_checks
from smvae_training.evaluate.likelihood.method import SMVAEMethod
from smvae_training.evaluate.likelihood.subsets import SubsetConfig, subset_likelihoods
from smvae_training.run import Run, load_run
from smvae_training.trainer import prepare_data
from tests.training.image_set_runs import SETTINGS, TEST, made_run


def test_an_image_and_its_label_get_every_number_of_the_specification(
    evaluated: tuple[dict[str, Any], str],
) -> None:
    results, _ = evaluated
    found = results["likelihoods"]
    assert list(found["proposals"]) == ["image+label", "image"]
    for values in found["proposals"].values():
        for key in ("joint", "marginal", "conditional"):
            assert values[key]["standard_error"] > 0
        assert 1 <= values["ess_joint"]["min"] <= values["ess_joint"]["median"] <= 20
        joint, log_p_y = values["joint"]["mean"], found["log_p_y"]["mean"]
        assert joint <= values["marginal"]["mean"]
        assert values["conditional"]["mean"] == pytest.approx(joint - log_p_y)
    assert (found["items"], found["settings"]["prior_samples"]) == (6, 200)
    assert results["checks_passed"]
    assert all(c["passed"] for c in results["checks"])
    assert any(c["name"].startswith("joint <= marginal") for c in results["checks"])
    assert results["calibration"]["items"] == 30
    assert 0 <= results["calibration"]["calibration_error"] <= 1
    assert len(results["coherence"]["label_to_image_by_class"]) == 10
    assert set(results["entropy"]["subsets"]) == {"image", "label", "image+label"}
    assert 0 <= results["entropy"]["share_not_rising"] <= 1
    lines = score_lines(results)
    assert lines[0].startswith("q(z|image+label): log p(x,y) -")
    count = len(results["checks"])
    assert lines[-1] == f"sanity checks that hold: {count} of {count}"
    data = results["data"]
    assert (data["name"], data["pixels"]) == ("mnist_binarised", "binarised")
    assert (data["held_out_records"], data["published_files"]) == (TEST, False)


def test_the_report_holds_all_pictures_and_fetches_nothing(
    evaluated: tuple[dict[str, Any], str],
) -> None:
    _, text = evaluated
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)
    assert text.count('<img src="data:image/png;base64,') == 7  # pictures, reliability, curves
    for title in ("Pictures", "Likelihoods", "Labels from images", "Coherence"):
        assert f"<h2>{title}</h2>" in text
    for title in ("Entropy of the posterior", "Sanity checks", "Training curves", "Set-up"):
        assert f"<h2>{title}</h2>" in text
    assert "Never compare with numbers of grey pixels" in text


class Weighted(SMVAE):
    """Keeps a training weight in its likelihood, the usual mistake."""

    def log_likelihood(self, name: str, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        return (10.0 if name == "label" else 1.0) * super().log_likelihood(name, x, output)


def test_a_label_weight_in_the_likelihood_stops_the_evaluation(
    digits: tuple[Path, Path], tmp_path: Path
) -> None:
    run = load_run(digits[0])
    wrong = Weighted(run.model_config)
    wrong.load_state_dict(run.model.state_dict())
    records = prepare_data(run.config, digits[1])
    with pytest.raises(SanityError, match=r"sum of p\(y\) is 1"):
        evaluate_image_run(replace(run, model=wrong.eval()), records, tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()


def test_more_modalities_get_likelihoods_and_errors_of_each_alone_and_of_all(
    tasks: tuple[Run, Any], tmp_path: Path
) -> None:
    run, records = tasks
    names = run.model.names
    results = evaluate_image_run(run, records, tmp_path, SETTINGS)
    assert list(results["likelihoods"]["subsets"]) == [*names, "+".join(names)]
    assert results["checks_passed"]
    assert any(c["name"].startswith("log p(all|S)") for c in results["checks"])
    for found in results["errors"]["subsets"].values():
        assert set(found) == set(names)
        for name, error in found.items():
            own = results["errors"]["training_mean"][name]["mean_squared_error"]["mean"]
            assert error["ratio"] == pytest.approx(error["mean_squared_error"]["mean"] / own)
    assert results["entropy"]["pairs"] == 28  # of 15 subsets
    text = (tmp_path / "report.html").read_text()
    assert text.count("<img ") >= 1
    assert "<h2>Errors</h2>" in text
    every = ImageEvaluateConfig(subsets="all").chosen_subsets(names)
    assert len(every) == 15
    assert score_lines(results)[0].startswith("log p(all|image): -")


def test_errors_are_those_of_the_decoded_mean(tasks: tuple[Run, Any]) -> None:
    run, records = tasks
    items = read_items(run.model.config.modalities, run.statistics, records, np.arange(3))
    method = SMVAEMethod(run.model)
    zero = {"grey": np.zeros((1, 64, 64))}
    found = subset_errors(method, items, [("image",)], zero)
    with torch.inference_mode():
        present = torch.tensor([[True, False, False, False]]).expand(3, -1)
        mean = run.model.encode({"image": items.inputs["image"]}, present).mean
        drawn = run.model.reconstruct(mean, ["grey"])["grey"]
    error = (drawn - items.inputs["grey"]).square().mean()
    values = found["subsets"]["image"]["grey"]
    assert values["mean_squared_error"]["mean"] == pytest.approx(float(error), rel=1e-5)
    assert values["psnr_db"] == pytest.approx(-10 * np.log10(float(error)), rel=1e-5)
    own = float(items.inputs["grey"].square().mean())
    assert found["training_mean"]["grey"]["mean_squared_error"]["mean"] == pytest.approx(own)


def test_checks_of_subsets_name_what_is_impossible(tasks: tuple[Run, Any]) -> None:
    run, records = tasks
    items = read_items(run.model.config.modalities, run.statistics, records, np.arange(3))
    config = SubsetConfig(samples=3, items=None)
    found = subset_likelihoods(
        SMVAEMethod(run.model), items.inputs, config, subsets=[run.model.names]
    )
    assert all(c["passed"] for c in subset_checks(found, run.model.config.modalities))
    (scores,) = found.subsets.values()
    for broken, words in (
        (replace(scores, predictive=scores.each["grey"] + 10.0), "log p\\(all"),
        (replace(scores, ess=scores.ess * np.nan), "ess"),
    ):
        wrong = replace(found, subsets={"all": broken})
        with pytest.raises(SanityError, match=words):
            subset_checks(wrong, run.model.config.modalities, require=True)
    behind = {"first": scores, "second": replace(scores, ess=scores.ess * np.nan)}
    with pytest.raises(SanityError, match="ess"):
        subset_checks(replace(found, subsets=behind), run.model.config.modalities, require=True)


def test_faces_and_attributes_are_scored_without_a_classifier(tmp_path: Path) -> None:
    run, records = made_run(tmp_path / "run", CELEBA, "celeba")
    results = evaluate_image_run(run, records, tmp_path / "out", SETTINGS)
    assert "28 x 28" in results["coherence"]["missing"]
    assert len(results["calibration"]["by_attribute"]) == 18
    assert results["likelihoods"]["ceiling"]["mean"] < 0  # grey levels cannot be certain
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Never compare with numbers of binarised pixels" in text
    assert "Wearing Hat" in text
    names = [p.name for p in pictures(run, records)]
    assert "attributes_to_image" in names
