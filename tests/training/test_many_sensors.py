"""More sensors than have all their subsets run: what was not sampled is still scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.novelty import OTHERS, Novelty
from smvae_core.preprocessing import Statistics, measure_statistics
from smvae_core.readout import LinearMap, Quantity, Readout
from smvae_core.subsets import evaluated_subsets
from smvae_training import novelty as calibration
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.novelty import calibrate, statistics_of

SENSORS = tuple(Modality(name=f"s{i}", kind="vector", shape=(3,), unit="1") for i in range(16))
NAMES = tuple(m.name for m in SENSORS)


def records(count: int, seed: int) -> Records:
    """Return readings of one hidden state by 16 noisy sensors."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(count, 3))
    noisy = {n: state + 0.5 * rng.normal(size=(count, 3)) for n in NAMES}
    prepared = {name: x.astype(np.float32) for name, x in noisy.items()}
    return Records(prepared=prepared, group=(np.arange(count) // 200).astype(np.int32))


@pytest.fixture(scope="module")
def model() -> SMVAE:
    torch.manual_seed(0)
    return SMVAE(ModelConfig(modalities=SENSORS, latent_dim=4, embedding_dim=16)).eval()


@pytest.fixture(scope="module")
def statistics() -> dict[str, Statistics]:
    known = records(1000, 0).prepared
    return {m.name: measure_statistics(m, known[m.name]) for m in SENSORS}


@pytest.fixture(scope="module")
def novelty(model: SMVAE, statistics: dict[str, Statistics]) -> Novelty:
    return calibrate(model, statistics, records(1500, 1))


def test_novelty_of_subsets_that_were_not_sampled_alarms_as_often_as_it_says(
    model: SMVAE,
    statistics: dict[str, Statistics],
    novelty: Novelty,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 50 of them, one in 100 samples, within a factor of 2 in the mean."""
    assert len(novelty.subsets) == 64 + 1
    assert OTHERS in novelty.subsets
    drawn = dict.fromkeys(s for seed in range(7, 12) for s in evaluated_subsets(NAMES, seed))
    others = [s for s in drawn if "+".join(s) not in novelty.subsets]
    monkeypatch.setattr(calibration, "evaluated_subsets", lambda names: others[::3][:50])
    found = statistics_of(Predictor(model, statistics, records(5000, 2)))
    assert len(found) == 50
    scores = {s: novelty.score(s.split("+"), values) for s, values in found.items()}
    rates = [float((x >= novelty.warn).mean()) for x in scores.values()]
    assert 0.005 < np.mean(rates) < 0.02


def test_a_sensor_that_no_subset_holds_has_no_scale(novelty: Novelty) -> None:
    with pytest.raises(ConfigError, match="no scale for s0\\+x/reconstruction/x"):
        novelty.tail("s0+x/reconstruction/x")


def test_a_readout_of_many_sensors_takes_the_nearest_subset() -> None:
    def linear(bias: float) -> dict[str, LinearMap]:
        bias_m = np.full(3, bias)
        return {"offset": LinearMap(weights=np.zeros((3, 2)), bias=bias_m, residual=np.ones(3))}

    readout = Readout(
        targets={"offset": Quantity(unit="m")},
        subsets={name: linear(i) for i, name in enumerate([*NAMES, "+".join(NAMES)])},
    )
    z, variance = np.zeros(2), np.ones(2)
    assert readout.apply(("s3", "s7"), z, variance)["offset"].value[0] == 3.0
    assert readout.apply(NAMES[:-2], z, variance)["offset"].value[0] == 16.0
    with pytest.raises(ConfigError, match="none for 'other'"):
        readout.apply(("other",), z, variance)
