"""Estimates of latents with memory: 90 % of the errors lie within, whatever the age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smvae_core.estimate_calibration import Curve, EstimateCalibration
from smvae_core.estimates import Decoded, Estimates
from smvae_core.modality import all_subsets, subset_name
from smvae_core.model.config import MemoryConfig
from smvae_core.model.memory.context import Elements
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Target
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.calibrate.estimates import calibrate_estimates, curve
from smvae_training.calibrate.remembering import WHOLE, Recalled, recall
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.presets import debug
from smvae_training.run import Run, load_run
from smvae_training.steps.embedded import embed_records
from smvae_training.steps.normalise import BatchNormaliser
from tests.training.short_runs import run

PLACE = DecodedTarget(
    name="place", mean=(0.0, 0.0), deviation=(1.0, 1.0), unit="m", fields=("x", "y")
)
HORIZON_S = 1.0


def told(deviation: np.ndarray, error: np.ndarray) -> tuple[Decoded, Target]:
    """Return values of deviation 1 that claim these (N, K), and truths that they are off."""
    covariance = np.square(deviation)[:, :, None] * np.eye(deviation.shape[1])
    value = np.random.default_rng(9).standard_normal(error.shape)
    return Decoded(value, covariance), Target(values=np.float32(value - error), unit="m")


def test_deviations_hold_at_every_size_where_one_factor_does_not() -> None:
    rng = np.random.default_rng(0)
    claimed = np.exp(rng.uniform(np.log(0.002), np.log(0.1), (8000, 2)))
    off = 0.02 * np.sqrt(claimed) * rng.standard_normal((8000, 2))
    found = curve(PLACE, *told(claimed[:4000], off[:4000]))
    assert found is not None
    scaled = np.stack([found.at(row) for row in claimed[4000:]]) * claimed[4000:]
    inside = np.abs(off[4000:]) <= 1.645 * scaled
    one = np.quantile(np.abs(off[:4000]) / claimed[:4000], 0.9)
    for low, high in ((0.002, 0.006), (0.006, 0.03), (0.03, 0.1)):
        rows = (claimed[4000:] >= low) & (claimed[4000:] < high)
        assert inside[rows].mean() == pytest.approx(0.9, abs=0.03)
    smallest = claimed[4000:] < 0.004
    assert (np.abs(off[4000:]) <= one * claimed[4000:])[smallest].mean() < 0.8


def test_where_it_tells_no_more_than_the_training_mean_it_is_not_known() -> None:
    claimed = np.repeat([[0.01, 0.01], [0.5, 0.01]], 300, axis=0)
    off = 0.01 * np.random.default_rng(1).standard_normal((600, 2))
    decoded, truth = told(claimed, off)
    decoded.value[300:, 0] = -decoded.value[300:, 0]
    found = curve(PLACE, decoded, truth)
    assert found is not None
    assert np.isfinite(found.at(np.array([0.01, 0.01]))).all()
    assert np.isnan(found.at(np.array([0.5, 0.01]))).tolist() == [True, False]
    assert np.isnan(found.at(np.array([np.nan, 0.01]))).tolist() == [True, False]


def test_too_few_give_no_curve() -> None:
    assert curve(PLACE, *told(np.ones((40, 2)), np.ones((40, 2)))) is None


def test_a_latent_with_memory_takes_the_curve_and_one_without_the_factor() -> None:
    knots = Curve(np.array([[0.01, 0.01], [0.1, 0.1]]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    calibration = EstimateCalibration(
        subsets={"rgb": {"place": np.array([7.0, 7.0])}, "force": {"place": np.array([5.0, 5.0])}},
        remembering={"rgb": {"place": knots}},
        names=("rgb", "force"),
    )
    read = EstimateCalibration.parse(calibration.to_bytes(), Path("estimates.json"))

    def decode(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(z), 2)), np.full((len(z), 2), 2.0 * np.log(0.1))

    estimates = Estimates((PLACE,), read, decode)
    latent = np.zeros(3), np.ones(3)
    std = estimates.apply(("rgb",), *latent, remembering=True)["place"].std
    np.testing.assert_allclose(std, [0.3, 0.4])
    np.testing.assert_allclose(estimates.apply(("rgb",), *latent)["place"].std, [0.7, 0.7])
    fallback = estimates.apply(("force",), *latent, remembering=True)["place"].std
    np.testing.assert_allclose(fallback, [0.5, 0.5])


@pytest.fixture(scope="module")
def remembering(
    episodes: PreparedEpisodes, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, PreparedEpisodes]:
    base = debug()
    model = replace(
        base.model, pooling="evidence", memory=MemoryConfig(horizon_s=HORIZON_S, width=4)
    )
    config = replace(base, model=model, data=replace(base.data, targets=("all",)))
    return load_run(run(config, episodes, tmp_path_factory.mktemp("run") / "run").root), episodes


def found_by_subset(run: Run, data: PreparedEpisodes) -> Mapping[tuple[str, ...], Recalled]:
    index = np.arange(len(data))
    return {r.subset: r for r in recall(run.model, run.statistics, data, index)}


def test_what_is_recalled_is_what_the_model_says_of_the_whole_memory(
    remembering: tuple[Run, PreparedEpisodes],
) -> None:
    run, data = remembering
    model, names = run.model, run.model.names
    found = found_by_subset(run, data)
    assert set(found) <= set(all_subsets(names))
    calm = replace(WHOLE, calm=1.0, alone=0.0)
    every = {r.subset: r for r in recall(model, run.statistics, data, np.arange(len(data)), calm)}
    whole = every[names]
    number = int(np.flatnonzero(data.group[whole.record] == data.group[0])[-1])
    record = int(whole.record[number])
    earlier = np.flatnonzero((data.group == data.group[record]) & (np.arange(len(data)) < record))
    age_s = (data.stamp_ns[record] - data.stamp_ns[earlier]) * 1e-9
    earlier, age_s = earlier[age_s <= HORIZON_S], age_s[age_s <= HORIZON_S]
    assert len(earlier) > 1
    normaliser = BatchNormaliser(run.model_config.modalities, run.statistics, True)
    at = np.append(earlier, record)
    with torch.inference_mode():
        parts = embed_records(model.eval(), normaliser, data, at, torch.device("cpu"))
        embeddings = torch.cat([e for *_, e in parts])
        elements = Elements(
            {n: embeddings[:-1, i] for i, n in enumerate(names)},
            {n: torch.zeros(len(earlier), dtype=torch.int64) for n in names},
            {n: torch.tensor(age_s, dtype=torch.float32) for n in names},
        )
        present = torch.ones(1, len(names), dtype=torch.bool)
        expected = model.posterior(embeddings[-1:], present, elements)
    torch.testing.assert_close(whole.posterior.mean[[number]], expected.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.posterior.log_var[[number]], expected.log_var)
    np.testing.assert_array_equal(
        whole.targets["offset"].values, data.targets["offset"].values[whole.record]
    )


def test_an_export_calibrates_what_every_subset_remembers(
    remembering: tuple[Run, PreparedEpisodes],
) -> None:
    run, data = remembering
    records = Records.of(data, np.arange(len(data)), 1000)
    found = found_by_subset(run, data)
    many = [
        replace(
            r,
            record=np.repeat(r.record, 60),
            posterior=type(r.posterior)(
                r.posterior.mean.repeat_interleave(60, 0),
                r.posterior.log_var.repeat_interleave(60, 0),
            ),
            targets={
                n: t.take(np.repeat(np.arange(len(r.record)), 60)) for n, t in r.targets.items()
            },
        )
        for r in found.values()
    ]
    predictor = Predictor(run.model, run.statistics, records)
    calibration = calibrate_estimates(predictor, records, recalled=many)
    assert set(calibration.remembering) == {subset_name(s) for s in found}
    continuous = {t.name for t in run.model_config.targets if not t.binary}
    assert all(set(curves) == continuous for curves in calibration.remembering.values())
