"""Sixteen small sensors go the whole way: training, export, live novelty, evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.robots import sixteen_sensors
from smvae_core.bundle import Bundle
from smvae_core.preprocessing import raw_sample
from smvae_core.runtime import Runtime
from smvae_core.subsets import evaluated_subsets
from smvae_datasets.dataset import ArrayDataset
from smvae_training.evaluate.episodes import Evaluation
from smvae_training.evaluate.records import EvaluateConfig
from smvae_training.presets import debug
from smvae_training.run import Run
from smvae_training.steps.subsets import fitted_subsets

SENSORS = sixteen_sensors.sensors(32)
NAMES = tuple(m.name for m in SENSORS)


@pytest.fixture(scope="module")
def data() -> ArrayDataset:
    return sixteen_sensors.records(SENSORS, 240)


@pytest.fixture(scope="module")
def run(data: ArrayDataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = debug()
    model = replace(small.model, modalities=SENSORS, pooling="evidence", decoded_noise=True)
    config = replace(small, model=model, data=replace(small.data, held_out=0.5))
    return sixteen_sensors.train_with(config, data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def bundle(run: Run, data: ArrayDataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return sixteen_sensors.export(run, data, tmp_path_factory.mktemp("bundles") / "bundle")


def test_the_records_are_valid_samples_of_every_sensor(data: ArrayDataset) -> None:
    for m in SENSORS:
        sample = raw_sample(m, data.arrays[m.name][0])
        assert m.plausibility(sample) == ""
        np.testing.assert_allclose(m.family.prepare(m, sample), data.arrays[m.name][0], atol=1e-6)


def test_a_subset_that_was_not_calibrated_gets_a_score(bundle: Bundle, data: ArrayDataset) -> None:
    novelty = bundle.manifest.novelty
    assert novelty is not None
    assert bundle.manifest.parity["max_difference"] < bundle.manifest.parity["tolerance"]
    runtime = Runtime(bundle)
    for m in SENSORS:
        runtime.observe(m.name, raw_sample(m, data.arrays[m.name][-1]))
    fitted = set(fitted_subsets(NAMES))
    others = [s for s in evaluated_subsets(NAMES, 5) if s not in fitted]
    assert len(others) >= 10
    for subset in others[:10]:
        score = runtime.novelty(subset, runtime.posterior(subset))
        assert np.isfinite(score), subset
        assert score < novelty.error


def test_every_subset_that_is_run_gets_its_scores(run: Run, data: ArrayDataset) -> None:
    settings = EvaluateConfig(max_records=20, likelihood_records=5, samples=1)
    results = Evaluation(run, data, settings).results()
    assert len(results["subsets"]) == 64
    for found in results["subsets"].values():
        assert list(found) == list(NAMES)
        assert np.isfinite([v for scores in found.values() for v in scores.values()]).all()
