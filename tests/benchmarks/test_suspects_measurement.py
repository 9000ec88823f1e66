"""The benchmark of suspects: what it counts, and that each fault is met by a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.closed_loop.report import wilson
from benchmarks.suspects.__main__ import FAULTS, Player, most_per_hour, summary
from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime
from tests.accused import accusing_bundle


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    import torch

    from smvae_core.model.config import ModelConfig
    from smvae_core.model.export import export_bundle
    from smvae_core.model.smvae import SMVAE
    from smvae_core.preprocessing import measure_statistics, prepare

    torch.manual_seed(0)
    modalities = vision_touch(32)
    config = ModelConfig(modalities=modalities, latent_dim=8, embedding_dim=32, base_channels=4)
    statistics = {
        m.name: measure_statistics(m, np.stack([prepare(m, m.example_sample(s)) for s in range(8)]))
        for m in modalities
    }
    folder = tmp_path_factory.mktemp("bundle")
    plain = export_bundle(SMVAE(config), statistics, folder / "plain")
    return Runtime(accusing_bundle(plain, folder / "accusing", "rgb"))


def cell(runtime: Runtime, count: int = 60) -> dict[str, Any]:
    from smvae_core.preprocessing import prepare

    samples = {
        m.name: np.stack([prepare(m, m.example_sample(s)) for s in range(count)])
        for m in runtime.modalities
    }
    tip = np.zeros((count, 4), np.float32)
    tip[45:, 0] = 0.05
    return samples | {"tip": tip}


def test_no_alarm_in_four_hours_bounds_the_rate_by_three_quarters() -> None:
    assert most_per_hour(0, 4.0) == pytest.approx(0.749, abs=1e-3)
    assert most_per_hour(1, 4.0) == pytest.approx(1.186, abs=1e-3)


def named(*cells: tuple[bool, ...]) -> dict[str, float]:
    """Return the share of trials in which a fault was named, cell by cell."""
    played = [
        {
            "seconds": 40.0,
            "alarms": [],
            "most": {"rgb": 0.5},
            "refused": 0,
            "left_out": {"rgb": 0},
            "trials": {"rgb: frozen": [{"right_s": 1.0 if t else None, "wrong": []} for t in met]},
        }
        for met in cells
    ]
    share: dict[str, float] = summary(played)["faults"]["rgb: frozen"]["rightly_named"]
    return share


def test_a_share_stands_in_its_interval() -> None:
    found = named(*([(True,)] * 45 + [(False,)] * 5))
    assert found["low"] < found["share"] == 0.9 < found["high"]
    assert named(*([(True,)] * 50))["high"] == pytest.approx(1.0)


def test_trials_of_one_cell_are_not_as_many_independent_ones() -> None:
    """Of 24 cells with three trials each an interval was that of 72 cells."""
    found = named(*([(True,) * 3] * 24))
    assert found["low"] == pytest.approx(wilson(1.0, 24)[0])
    together = named(*([(True,) * 3] * 22 + [(False,) * 3] * 2))
    assert together["low"] == pytest.approx(wilson(22 / 24, 24)[0], abs=0.01)


def test_faults_begin_where_the_arm_is_about_to_move(runtime: Runtime) -> None:
    assert Player(runtime).starts(cell(runtime)["tip"]) == [40]


def test_a_cell_counts_alarms_and_each_fault_meets_a_copy(runtime: Runtime) -> None:
    found = Player(runtime).play(cell(runtime), seed=0)
    assert [a["sensor"] for a in found["alarms"]] == ["rgb"]
    assert set(found["trials"]) == set(FAULTS)
    for fault, (name, _, _) in FAULTS.items():
        (trial,) = found["trials"][fault]
        assert trial["already"] == ["rgb"]
        assert (trial["right_s"] is not None) == (name == "rgb")
    whole = summary([found])
    assert whole["novelty"] == {
        "moments": 60,
        "refused": 0,
        "left_out": dict.fromkeys(runtime.manifest.names, 0),
    }
    assert whole["hours"] == pytest.approx(12.0 / 3600.0)
    assert whole["most_suspicion"]["rgb"] >= 1.0


def test_a_lost_sensor_is_neither_judged_nor_disturbed(runtime: Runtime) -> None:
    found = Player(runtime, ("rgb",)).play(cell(runtime), seed=0)
    assert found["alarms"] == []
    assert set(found["trials"]) == {f for f, (name, _, _) in FAULTS.items() if name != "rgb"}
