"""What ruins training is found, with its sensor and number; what does not is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_core.presets import vision_touch
from smvae_datasets import checks
from smvae_datasets.checks import check_dataset
from smvae_datasets.dataset import ArrayDataset, DataSetError
from tests.declared import JOINTS, POSE, SCAN

CAMERA, DEPTH, FORCE, COMMAND = vision_touch(32)
RECORDS, GROUPS = 200, 4


def samples(modality: Modality, count: int = RECORDS) -> NDArray[Any]:
    """Return prepared samples that nothing is wrong with."""
    rng = np.random.default_rng(3)
    raw = [modality.family.example_sample(modality, rng) for _ in range(count)]
    return np.stack([modality.family.prepare(modality, sample) for sample in raw])


def records(*sensors: Modality, **changed: NDArray[Any]) -> ArrayDataset:
    count = next((len(a) for a in changed.values()), RECORDS)
    arrays = {m.name: changed.get(m.name) for m in sensors}
    return ArrayDataset(
        sensors=sensors,
        arrays={
            m.name: samples(m, count) if arrays[m.name] is None else changed[m.name]
            for m in sensors
        },
        group=np.repeat(np.arange(GROUPS, dtype=np.int32), -(-count // GROUPS))[:count],
        group_names=tuple("abcd"),
        stamp_ns=np.arange(count, dtype=np.int64) * 50_000_000,
    )


def told(data: ArrayDataset, **options: Any) -> list[str]:
    return [str(finding) for finding in check_dataset(data, **options)]


def test_nothing_is_found_in_sound_records_of_every_kind() -> None:
    assert told(records(CAMERA, DEPTH, FORCE, COMMAND, SCAN, JOINTS, POSE)) == []


def test_channels_and_sensors_that_never_change() -> None:
    command = samples(COMMAND)
    command[:, 1] = 0.1
    (line,) = told(records(COMMAND, action=command))
    assert line.startswith("action: linear.y hardly moved (by less than 0.001 in SI units) in 200 ")
    still = np.broadcast_to(command[:1], command.shape)
    (line,) = told(records(COMMAND, action=still))
    assert line.startswith("action: never changes in 200 records looked at; ")
    (line,) = told(records(CAMERA, rgb=np.repeat(samples(CAMERA, 1), RECORDS, axis=0)))
    assert line.startswith("rgb: never changes in ")


def test_frames_that_hang_and_commands_that_are_held() -> None:
    frames = np.repeat(samples(CAMERA, RECORDS // 2), 2, axis=0)
    (line,) = told(records(CAMERA, rgb=frames))
    assert line.startswith("rgb: 51% of 196 records looked at hold exactly what the one before")
    held = np.repeat(samples(COMMAND, GROUPS), RECORDS // GROUPS, axis=0)
    (line,) = told(records(COMMAND, action=held))
    assert line.startswith("action: 100% of 196 records looked at hold exactly")
    data = records(CAMERA, rgb=frames)
    timeless = replace(data, stamp_ns=np.zeros(RECORDS, np.int64))
    assert told(timeless) == []  # records without a time have no neighbours


def test_a_slow_camera_whose_sample_stands_in_several_records_does_not_hang() -> None:
    frames = np.repeat(samples(CAMERA, RECORDS // 2), 2, axis=0)
    data = records(CAMERA, rgb=frames)
    slow = replace(data, samples=np.arange(RECORDS)[:, None] // 2)
    assert told(slow) == []
    assert told(slow.take(np.arange(RECORDS // 2))) == []
    twice = replace(data, samples=np.arange(RECORDS)[:, None])
    (line,) = told(twice)
    assert line.startswith("rgb: 51% of 196 records looked at hold exactly what the one before")
    assert "its driver sends the same again" in line
    with pytest.raises(DataSetError, match="samples: expected"):
        replace(data, samples=np.arange(RECORDS))


def test_a_sensor_that_is_hardly_there_is_counted_over_the_records_trained_on() -> None:
    data = records(FORCE, COMMAND)
    recorded = np.ones((RECORDS, 2), bool)
    recorded[1:, 0] = False
    data.arrays["force"][1:] = np.nan  # never read
    rare = replace(data, recorded=recorded)
    (line,) = told(rare)
    assert line.startswith("force: in 1 of 200 records (0.50%), too few to learn it; check")
    assert told(rare, index=np.arange(100)) == []
    (found,) = check_dataset(rare, index=np.arange(100, 200))
    assert str(found).startswith(
        "force: in none of 100 records to train on, but in 1 that are held out; "
    )
    assert found.fatal
    (found,) = check_dataset(replace(data, recorded=recorded & [False, True]))
    assert str(found).startswith("force: in none of 200 records; check its topic")
    assert told(rare, index=np.arange(100, 200), sensors=(COMMAND,)) == []


def test_units_that_look_wrong() -> None:
    (line,) = told(records(FORCE, force=samples(FORCE) * 1e5))
    assert line.startswith("force: 64 of 64 samples look wrong, the first: ")
    assert "N or N m is beyond 10000: another unit?" in line
    (line,) = told(records(COMMAND, action=samples(COMMAND) * 5000))
    assert "per step is beyond 3.2: another unit?" in line


def test_depth_and_scans_of_which_nearly_nothing_was_measured() -> None:
    depth = samples(DEPTH)
    depth[:, :, 1:] = 0.0
    (line,) = told(records(DEPTH, depth=depth))
    assert line.startswith("depth: only 3.1% of its elements were measured; check its unit")
    assert told(records(SCAN)) == []


def test_numbers_that_are_not_finite_are_an_error() -> None:
    force = samples(FORCE)
    force[[7, 9], 2] = np.nan
    (found,) = check_dataset(records(FORCE, force=force))
    assert str(found).startswith(
        "force: NaN or infinity in 2 of 200 records looked at, the first in record 7; the loss"
    )
    assert found.fatal


@pytest.mark.parametrize(("count", "fatal"), [(1, True), (0, True), (30, False)])
def test_fewer_records_than_a_batch(count: int, fatal: bool) -> None:
    found = check_dataset(records(JOINTS), index=np.arange(count), batch_size=64)
    assert f"{count} record" in str(found[0])
    assert found[0].fatal == fatal
    assert told(records(JOINTS), index=np.arange(64), batch_size=64) == []


def test_a_large_set_is_looked_at_in_evenly_spread_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LOOKED_AT_BYTES", 16 * 6 * 32 * 4)
    held = np.flatnonzero(np.arange(RECORDS) % 100 >= 50)
    looked = checks.Looked(records(FORCE), FORCE, RECORDS, held)
    assert len(looked.values) == 16
    assert set(looked.rows) <= set(held)
    assert looked.rows[0] == 50
    assert looked.rows[-1] == 199
    assert len(looked.pairs) == 14
