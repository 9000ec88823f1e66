"""More sensors than have all their subsets fitted: what was not sampled is scored and read out."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.robots.many_sensors import readings, sensors
from smvae_core.errors import ConfigError
from smvae_core.modality import subset_name
from smvae_core.model.config import ModelConfig
from smvae_core.model.objective import elbo
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.novelty.scale import Novelty, largest
from smvae_core.preprocessing import Statistics, measure_statistics, normalise
from smvae_core.readout import Readout
from smvae_datasets.dataset import ArrayDataset, Target
from smvae_training.calibrate.novelty import NotCalibrated, calibrate, statistics_of
from smvae_training.calibrate.readout import fit
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.steps.subsets import Rows, draw_subsets, fitted_subsets, subset_rows

#: One latent state seen by eight vector sensors of different size, noise and bend.
SENSORS = sensors(8)
NAMES = tuple(m.name for m in SENSORS)
Trained = tuple[SMVAE, dict[str, Statistics]]


def records(count: int, seed: int, missing: float = 0.0) -> ArrayDataset:
    """Return readings of hidden states, and targets that they tell."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(count, 4))
    arrays = readings(SENSORS, state, rng)
    place = state[:, :2] + 0.05 * rng.normal(size=(count, 2))
    recorded = rng.random((count, len(NAMES))) >= missing
    recorded[~recorded.any(axis=1), 0] = True
    return ArrayDataset(
        sensors=SENSORS,
        arrays=arrays,
        group=(np.arange(count) // 200).astype(np.int32),
        group_names=tuple(map(str, range(1 + (count - 1) // 200))),
        recorded=recorded,
        targets={
            "place": Target(values=place.astype(np.float32), unit="m"),
            "right": Target(values=np.float32(state[:, :1] > 0.0), binary=True),
        },
    )


def held_out(data: ArrayDataset) -> Records:
    return Records.of(data, np.arange(len(data)), len(data))


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A small model after a few hundred steps."""
    torch.manual_seed(0)
    model = SMVAE(ModelConfig(modalities=SENSORS, latent_dim=8, embedding_dim=32))
    data = records(8000, 1)
    statistics = {m.name: measure_statistics(m, data.arrays[m.name]) for m in SENSORS}
    inputs = {
        m.name: torch.from_numpy(normalise(m, statistics[m.name], data.arrays[m.name]))
        for m in SENSORS
    }
    optimizer, rng = torch.optim.AdamW(model.parameters(), lr=2e-3), np.random.default_rng(0)
    everything = np.ones((128, len(NAMES)), bool)
    for step in range(500):
        rows = torch.from_numpy(rng.integers(0, len(data), 128))
        batch = {name: x[rows] for name, x in inputs.items()}
        present = torch.from_numpy(draw_subsets(everything, rng))
        whole = torch.from_numpy(everything)
        loss = elbo(model, batch, whole, present, min(1.0, step / 250), ObjectiveConfig()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval(), statistics


@pytest.fixture(scope="module")
def novelty(trained: Trained) -> Novelty:
    return calibrate(*trained, held_out(records(1500, 2)))


class Latents:
    """Of a model that is no run."""

    def __init__(self, trained: Trained, records: Records) -> None:
        self._predictor = Predictor(*trained, records)

    def means(self, subset: tuple[str, ...]) -> Any:
        return self._predictor.posterior(subset).mean.numpy()

    def of_rows(self, rows: Rows) -> Any:
        return self._predictor.posterior_of_rows(*rows).mean.numpy()


def readout_of(trained: Trained, data: ArrayDataset) -> Readout:
    parts = np.arange(0, 4000), np.arange(4000, len(data))
    return fit(lambda found: Latents(trained, found), NAMES, data, parts, "of none")


@pytest.fixture(scope="module")
def readout(trained: Trained) -> Readout:
    return readout_of(trained, records(5500, 3))


def not_sampled(count: int = 50) -> list[tuple[str, ...]]:
    """Return subsets that nothing was fitted to, uniform in size."""
    random, sampled = Random(9), set(fitted_subsets(NAMES))
    found: dict[tuple[str, ...], None] = {}
    while len(found) < count:
        chosen = sorted(random.sample(range(len(NAMES)), random.randint(2, len(NAMES) - 1)))
        if (subset := tuple(NAMES[i] for i in chosen)) not in sampled:
            found[subset] = None
    return list(found)


def test_novelty_of_subsets_that_were_not_sampled_alarms_as_often_as_it_says(
    trained: Trained, novelty: Novelty
) -> None:
    assert not novelty.subsets
    found = statistics_of(Predictor(*trained, held_out(records(8000, 4))), not_sampled())
    scores = [novelty.score(s.split("+"), values) for s, values in found.items()]
    rates = np.array([float((x >= novelty.warn).mean()) for x in scores])
    assert len(rates) == 50
    assert 0.005 < rates.mean() < 0.02
    assert ((rates > 0.005) & (rates < 0.02)).mean() >= 0.8
    assert 0.0003 < np.mean([(x >= novelty.error).mean() for x in scores]) < 0.002


def test_a_frozen_sensor_is_found_in_a_subset_that_was_not_sampled(
    trained: Trained, novelty: Novelty
) -> None:
    data = records(600, 5)
    bad = replace(data, arrays={**data.arrays, "s0": np.roll(data.arrays["s0"], 100, axis=0)})
    subset = next(s for s in not_sampled() if "s0" in s and len(s) >= 4)
    rates = []
    for case in (data, bad):
        found = statistics_of(Predictor(*trained, held_out(case)), [subset])
        rates.append((novelty.score(subset, found[subset_name(subset)]) >= novelty.warn).mean())
    assert rates[1] > 5 * max(rates[0], 0.01)


def test_intervals_of_subsets_that_were_not_sampled_hold_90_percent(
    trained: Trained, readout: Readout
) -> None:
    assert not readout.subsets
    data = records(1000, 6)
    latents = Latents(trained, Records.of(data, np.arange(1000), 1000))
    truth, held = data.targets["place"].values, []
    for subset in not_sampled():
        z = latents.means(subset)
        linear = readout.any_subset["place"].of(np.array([n in subset for n in NAMES]))
        one = readout.apply(subset, z[0], np.full(z.shape[1], 0.5))["place"]
        np.testing.assert_allclose(one.value, linear.weights @ z[0] + linear.bias)
        np.testing.assert_array_equal(one.std, linear.residual)
        error = np.abs(z @ linear.weights.T + linear.bias - truth)
        held.append((error <= 1.645 * linear.residual).mean())
    assert 0.87 < np.mean(held) < 0.93
    assert np.mean([0.85 <= share <= 0.95 for share in held]) >= 0.85


def test_one_function_reads_nearly_as_well_as_a_map_of_each_subset(
    trained: Trained, readout: Readout
) -> None:
    from smvae_training.evaluate import probe

    known, asked = records(4000, 7), records(1000, 8)
    latents = [Latents(trained, Records.of(d, np.arange(len(d)), len(d))) for d in (known, asked)]
    ratios = []
    for subset in not_sampled(10):
        z, test_z = (part.means(subset) for part in latents)
        own = probe.fit("place", known.targets["place"], z)
        linear = readout.any_subset["place"].of(np.array([n in subset for n in NAMES]))
        errors = [
            np.sqrt(np.square(probe.predict(test_z, w, b) - asked.targets["place"].values).mean())
            for w, b in (own, (linear.weights, linear.bias))
        ]
        ratios.append(errors[1] / errors[0])
    assert np.mean(ratios) < 1.1
    right = asked.targets["right"].values[:, 0] > 0
    found = [
        readout.apply(NAMES, z, np.ones(8))["right"].value[0] > 0.5 for z in latents[1].means(NAMES)
    ]
    assert np.mean(right == found) > 0.85


def test_scores_are_of_singles_all_but_one_and_all(readout: Readout) -> None:
    assert len(readout.scores) == 8 + 8 + 1
    alone = readout.scores["s0"]["place"]["rmse_mm"]["0"]
    assert readout.scores["+".join(NAMES)]["place"]["rmse_mm"]["0"] < alone


def test_functions_of_presence_survive_their_files(
    novelty: Novelty, readout: Readout, tmp_path: Any
) -> None:
    assert Novelty.from_json(novelty.to_json()) == novelty
    readout.write(tmp_path / "readout.json")
    again = Readout.read(tmp_path / "readout.json")
    z = np.linspace(-1.0, 1.0, 8)
    one, other = (r.apply(NAMES[2:5], z, np.ones(8)) for r in (readout, again))
    for name in ("place", "right"):
        np.testing.assert_allclose(one[name].value, other[name].value)


def test_what_is_no_sensor_has_no_scale_and_no_readout(novelty: Novelty, readout: Readout) -> None:
    with pytest.raises(ConfigError, match="no scale for s0\\+x/reconstruction/x"):
        novelty.surprises(("s0", "x"), {"s0+x/reconstruction/x": 1.0})
    with pytest.raises(ConfigError, match="'s0\\+x' was not calibrated"):
        novelty.score(("s0", "x"), {})
    with pytest.raises(ConfigError, match="none for 's0\\+x', have any of s0, s1"):
        readout.apply(("s0", "x"), np.zeros(8), np.ones(8))
    with pytest.raises(ConfigError, match="7 sizes of subsets for 8 sensors"):
        replace(novelty.any_subset, sizes=novelty.any_subset.sizes[1:])  # type: ignore[type-var]
    moved = novelty.any_subset.components["conflict/s0"]  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="a moved tail needs finite numbers"):
        replace(moved, place=(float("nan"),))
    function = readout.any_subset["place"]
    with pytest.raises(ConfigError, match="expected finite numbers"):
        replace(function, bias=function.bias * np.nan)
    with pytest.raises(ConfigError, match=r"expected weights \(F, K, Z\)"):
        replace(function, bias=function.bias[1:])


def test_rows_hold_only_what_was_recorded() -> None:
    recorded = records(300, 9, missing=0.5).recorded
    rows = subset_rows(recorded, NAMES, 2000, seed=0)
    assert not (rows.present & ~recorded[rows.record]).any()
    assert rows.present.any(axis=1).all()
    assert len(rows.record) > 1500
    again = subset_rows(recorded, NAMES, 2000, seed=0)
    assert np.array_equal(rows.present, again.present)


@pytest.mark.parametrize("missing", [0.3, 0.7])
def test_records_that_lack_sensors_calibrate_too(trained: Trained, missing: float) -> None:
    """And what stands in an absent slot counts nowhere."""
    found, read = [], []
    for junk in (np.nan, 1e3):
        data = records(5500, 10, missing)
        arrays = {
            m.name: np.where(data.recorded[:, [i]], data.arrays[m.name], np.float32(junk))
            for i, m in enumerate(SENSORS)
        }
        data = replace(data, arrays=arrays)
        found.append(calibrate(*trained, Records.of(data, np.arange(5500), 1500)))
        read.append(readout_of(trained, data))
    assert found[0] == found[1]
    np.testing.assert_array_equal(
        read[0].any_subset["place"].weights, read[1].any_subset["place"].weights
    )
    whole = statistics_of(Predictor(*trained, held_out(records(3000, 11))), not_sampled(12))
    rates = [(found[0].score(s.split("+"), v) >= found[0].warn).mean() for s, v in whole.items()]
    assert 0.004 < np.mean(rates) < 0.03


def test_few_sensors_have_tails_of_their_own_where_enough_records_hold_a_subset() -> None:
    few = SENSORS[:3]
    model = SMVAE(ModelConfig(modalities=few, latent_dim=4, embedding_dim=16)).eval()
    data = records(400, 12)
    statistics = {m.name: measure_statistics(m, data.arrays[m.name]) for m in few}
    recorded = np.ones((400, 3), bool)
    recorded[:350, 0] = False  # s0 in 50 records: too few
    prepared = {m.name: data.arrays[m.name] for m in few}
    found = calibrate(
        model, statistics, Records(prepared=prepared, group=data.group, recorded=recorded)
    )
    assert set(found.subsets) == {"s1", "s2", "s1+s2"}
    assert found.any_subset is not None
    whole = calibrate(model, statistics, Records(prepared=prepared, group=data.group))
    assert whole.any_subset is None
    assert len(whole.subsets) == 7
    assert found.subsets["s1+s2"] == whole.subsets["s1+s2"]
    values = statistics_of(
        Predictor(model, statistics, Records(prepared=prepared, group=data.group))
    )
    alone = values["s1"]
    np.testing.assert_array_equal(
        whole.score(("s1",), alone), whole.subsets["s1"].surprise(largest(whole.components, alone))
    )
    with pytest.raises(NotCalibrated, match="held-out records, 100 are needed"):
        calibrate(model, statistics, Records(prepared={}, group=data.group[:9]))
