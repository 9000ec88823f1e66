"""From held-out sequences to a bundle that names suspects: what is calibrated is what runs live."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smvae_core.bundle import Bundle
from smvae_core.model.config import ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.model.smvae import SMVAE
from smvae_core.novelty.suspects import Suspects
from smvae_core.novelty.suspicion import LEAST_LIMIT, MISFIT, STILLNESS, given, scale_key
from smvae_core.preprocessing import Statistics, measure_statistics
from smvae_core.runtime import Runtime
from smvae_core.subsets import FEW_SENSORS
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.calibrate import suspicion as calibrating
from smvae_training.calibrate.suspicion import (
    SPACING_S,
    NoSequences,
    Sequences,
    calibrate_suspicion,
)
from tests.training.conftest import make_episodes

TRAJECTORIES, STEPS = 4, 160


@pytest.fixture(scope="module")
def long_episodes() -> PreparedEpisodes:
    return make_episodes(trajectories=TRAJECTORIES, steps=STEPS)


@pytest.fixture(scope="module")
def sequences(long_episodes: PreparedEpisodes) -> Sequences:
    return Sequences.of(long_episodes, np.arange(len(long_episodes)))


@pytest.fixture(scope="module")
def untrained(long_episodes: PreparedEpisodes) -> tuple[SMVAE, dict[str, Statistics]]:
    torch.manual_seed(0)
    modalities = long_episodes.sensors
    config = ModelConfig(modalities=modalities, latent_dim=8, embedding_dim=32, base_channels=4)
    arrays = long_episodes.arrays
    return SMVAE(config).eval(), {
        m.name: measure_statistics(m, np.asarray(arrays[m.name])) for m in modalities
    }


def test_records_are_spaced_as_sensors_are_judged(sequences: Sequences) -> None:
    same = np.diff(sequences.records.group) == 0
    assert np.diff(sequences.at_s)[same] == pytest.approx(SPACING_S)
    before = sequences.before
    assert (before[:2] == -1).all()
    assert before[2] == 0, "0.4 s before"
    assert (
        sequences.records.group[before[before >= 0]] == sequences.records.group[before >= 0]
    ).all()


def test_records_without_an_order_calibrate_nothing(long_episodes: PreparedEpisodes) -> None:
    with pytest.raises(NoSequences, match="0 held-out records come"):
        Sequences.of(long_episodes, np.arange(0, len(long_episodes), 40))


def test_live_evidence_is_that_of_the_calibration(
    untrained: tuple[SMVAE, dict[str, Statistics]], sequences: Sequences, tmp_path: Path
) -> None:
    model, statistics = untrained
    found = calibrate_suspicion(model, statistics, sequences)
    names = model.names
    sensor, others = "force", ("rgb", "depth", "action")
    limits = found.limits[given(sensor, others)]
    assert set(limits) == {"misfit/fast", "misfit/middle", "misfit/slow", "stillness/fast"}
    assert all(LEAST_LIMIT <= each <= 1.0 for each in limits.values())
    pictures = found.limits[given("rgb", ("depth", "force", "action"))]
    assert set(pictures) == set(limits) - {"misfit/slow"}
    assert scale_key(STILLNESS, "action", ("rgb",)) not in found.scales, "a command may repeat"
    assert scale_key(MISFIT, "action", ("rgb",)) in found.scales

    runtime = Runtime(export_bundle(model, statistics, tmp_path / "bundle", suspicion=found))
    assert runtime.manifest.suspicion == found
    most: dict[str, float] = {}
    group, at_s = sequences.records.group, sequences.at_s
    for number in np.unique(group):
        suspects = Suspects(runtime)
        for row in np.flatnonzero(group == number):
            for name in names:
                runtime.observe(name, sequences.records.prepared[name][row], prepared=True)
            suspects.renew(float(at_s[row]), dict.fromkeys(names, int(row) + 1), 1000.0)
            for key, value in suspects.evidence(sensor).items():
                if not math.isnan(value):
                    most[key] = max(most.get(key, 0.0), value)
    expected = found.calibration["most"][given(sensor, others)]
    assert most == pytest.approx(expected, abs=0.02)


def test_functions_of_presence_stand_in_where_sensors_are_many(
    untrained: tuple[SMVAE, dict[str, Statistics]],
    sequences: Sequences,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibrating, "FEW_SENSORS", 3)
    assert FEW_SENSORS > 3
    model, statistics = untrained
    found = calibrate_suspicion(model, statistics, sequences)
    assert found.scales == {}
    value = np.array([-5.0, 5.0])
    for others in (("depth",), ("depth", "force"), ("depth", "force", "action")):
        low, high = found.surprise(MISFIT, "rgb", others, value)
        assert 0.0 <= low < high
    assert set(found.limits) == {
        given(n, tuple(o for o in model.names if o != n)) for n in model.names
    }


def test_a_bundle_without_suspicion_loads_as_before(
    untrained: tuple[SMVAE, dict[str, Statistics]], tmp_path: Path
) -> None:
    model, statistics = untrained
    bundle = Bundle.load(export_bundle(model, statistics, tmp_path / "bundle"))
    assert bundle.manifest.suspicion is None
    assert "suspicion" not in bundle.manifest.to_json()["training"]
    assert replace(bundle.manifest, training={}).to_json()["training"] == {}
