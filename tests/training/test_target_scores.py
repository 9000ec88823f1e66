"""What an evaluation says of a model's estimates: errors, coverage, and what is not known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smvae_core.estimates import Decoded
from smvae_core.modality import all_subsets, subset_name
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Target
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.evaluate.episodes import Evaluation
from smvae_training.evaluate.records import EvaluateConfig
from smvae_training.evaluate.report.sections import write_report
from smvae_training.evaluate.targets import halves, score
from smvae_training.presets import debug
from smvae_training.run import RunPaths, load_run
from smvae_training.trainer import train_on

PLACE = DecodedTarget(
    name="place", mean=(0.0, 0.0), deviation=(1.0, 1.0), unit="m", fields=("x", "y")
)


def test_scores_are_over_what_is_known() -> None:
    truth = Target(values=np.float32([[0, 0], [0, 0], [0, 0], [np.nan, 0]]), unit="m")
    value = np.array([[1e-3, np.nan], [3e-3, np.nan], [np.nan, 4e-3], [9.0, 9.0]])
    found = score(PLACE, truth, value, np.full((4, 2), 1e-3))
    assert found["records"] == 3
    assert found["unknown"] == pytest.approx({"x": 1 / 3, "y": 2 / 3})
    assert found["rmse_mm"] == pytest.approx({"x": np.sqrt(5.0), "y": 4.0})
    assert found["median_mm"] == pytest.approx({"x": 2.0, "y": 4.0})
    assert found["coverage"] == {"x": 0.5, "y": 0.0}


def test_a_binary_target_is_right_or_wrong() -> None:
    contact = DecodedTarget(name="contact", mean=(0.5,), deviation=(0.5,), binary=True)
    truth = Target(values=np.float32([[1], [1], [1], [0]]), binary=True)
    value = np.array([[0.9], [0.2], [np.nan], [0.1]])
    found = score(contact, truth, value, np.full((4, 1), np.nan))
    assert found["accuracy"]["0"] == pytest.approx(2 / 3)
    assert found["accuracy_of_constant"]["0"] == 0.75
    assert found["unknown"]["0"] == 0.25


def test_a_half_is_calibrated_on_the_other() -> None:
    """Errors of the odd groups are ten times those of the even ones, so each gets the other's."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 500).astype(np.int32)
    truth = rng.standard_normal((2000, 2))
    size = np.where(group % 2, 0.3, 0.03)[:, None]
    value = truth + size * rng.standard_normal((2000, 2))
    decoded = Decoded(value, np.tile(0.01 * np.eye(2), (2000, 1, 1)))
    _, std = halves(PLACE, decoded, Target(values=truth.astype(np.float32)), group, "rgb")
    assert np.median(std[group % 2 == 0]) == pytest.approx(0.3, rel=0.1)
    assert np.median(std[group % 2 == 1]) == pytest.approx(0.03, rel=0.1)


def test_an_evaluation_scores_every_target_of_every_subset(
    episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    config = replace(debug(), data=replace(debug().data, held_out=0.4, targets=("all",)))
    train_on(config, episodes, RunPaths(tmp_path / "run"), None, "memory")
    settings = EvaluateConfig(max_records=24, likelihood_records=2, samples=1)
    evaluation = Evaluation(load_run(tmp_path / "run"), episodes, settings)
    results = evaluation.results()
    names = tuple(m.name for m in evaluation.modalities)
    assert list(results["estimates"]) == [subset_name(s) for s in all_subsets(names)]
    for found in results["estimates"].values():
        assert set(found) == {"offset", "hole", "contact"}
        assert set(found["hole"]["unknown"]) == {"x", "y", "z", "sin_yaw", "cos_yaw"}
    text = write_report(tmp_path / "report.html", evaluation, results).read_text()
    assert "Estimates of targets" in text
    assert "median [mm]" in text
