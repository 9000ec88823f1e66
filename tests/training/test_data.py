"""Batches: every record once per epoch, in an order by (seed, epoch); normalised as in core."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smvae_core.errors import ConfigError
from smvae_core.model.distributions import Share
from smvae_core.preprocessing import Statistics, measure_statistics, normalise
from smvae_core.presets import vision_touch
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.augmenter import Augmenter
from smvae_training.config import AugmentConfig
from smvae_training.presets import debug
from smvae_training.run import training_statistics, write_arrays
from smvae_training.steps.data import (
    StepStream,
    batch_order,
    fingerprint,
    loader,
    read_at_random,
)
from smvae_training.steps.normalise import BatchNormaliser


def test_an_epoch_holds_each_record_once_and_the_next_another_order() -> None:
    index = np.arange(100, 140)
    order = batch_order(index, 8, seed=0)
    epochs = [[order.records(e * 5 + i) for i in range(5)] for e in range(2)]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(index)
    assert not np.array_equal(epochs[0][0], epochs[1][0])


def test_records_of_a_step_do_not_depend_on_the_steps_before() -> None:
    straight = batch_order(np.arange(40), 8, seed=1)
    seen = [straight.records(step) for step in range(12)]
    assert np.array_equal(batch_order(np.arange(40), 8, seed=1).records(11), seen[11])


def test_a_split_smaller_than_a_batch_is_one_batch_and_an_empty_one_is_refused() -> None:
    assert batch_order(np.arange(5), 8, seed=0).steps_per_epoch == 1
    with pytest.raises(ConfigError, match="training split holds no step"):
        batch_order(np.arange(0), 8, seed=0)


def test_devices_share_a_batch_without_overlap(episodes: PreparedEpisodes) -> None:
    order = batch_order(np.arange(len(episodes)), 8, seed=0)
    whole = StepStream(episodes, order, lambda: 0).batch(3)
    halves = [StepStream(episodes, order, lambda: 0, (r, 2)).batch(3) for r in range(2)]
    for rank, half in enumerate(halves):
        assert torch.equal(half.present, whole.present[rank::2])
        assert torch.equal(half.arrays["action"], whole.arrays["action"][rank::2])


@pytest.mark.parametrize("devices", [2, 3, 7])
def test_what_a_row_is_does_not_depend_on_how_many_devices_there_are(
    episodes: PreparedEpisodes, devices: int
) -> None:
    """Subset, drawn pixels and augmentation, also where 10 rows cannot be shared out evenly."""
    recorded = np.array(episodes.recorded)
    recorded[::3, 2] = False
    data = replace(episodes, recorded=recorded)
    order = batch_order(np.arange(len(data)), 10, seed=0)
    statistics = training_statistics(debug(), data, np.arange(len(data)))
    changes = AugmentConfig(
        crop=0.1, color=0.1, holes=0.2, bias=0.3, noise=0.1, lost=0.3, delay=0.3, dropout=0.2
    )
    augmenter = Augmenter(data, statistics, changes, 0)
    for options in ({"augmenter": augmenter}, {"binarise": ["rgb"]}):
        whole = StepStream(data, order, lambda: 0, **options).batch(4)
        parts = [
            StepStream(data, order, lambda: 0, (rank, devices), **options).batch(4)
            for rank in range(devices)
        ]
        assert sum(len(part.present) for part in parts) == 10
        for rank, part in enumerate(parts):
            assert part.share == Share(rank, devices, 10)
            assert part.share.rows == len(part.present)
            assert torch.equal(part.present, whole.present[rank::devices])
            for found, every in ((part.arrays, whole.arrays), (part.observed, whole.observed)):
                for name in found:
                    assert torch.equal(found[name], every[name][rank::devices]), name
    assert whole.share is None


@pytest.mark.parametrize("devices", [1, 2, 3, 5])
def test_no_record_of_an_epoch_counts_twice_on_any_number_of_devices(devices: int) -> None:
    order = batch_order(np.arange(23), 7, seed=3)
    seen = [
        record
        for step in range(order.steps_per_epoch)
        for rank in range(devices)
        for record in order.records(step)[rank::devices]
    ]
    assert len(seen) == len(set(seen)) == 21


def test_files_beyond_half_of_the_memory_are_read_without_what_lies_around(tmp_path: Path) -> None:
    values = np.arange(5000, dtype=np.float32).reshape(1000, 5)
    np.save(tmp_path / "a.npy", values)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    given = {"file": mapped, "part": mapped[10:], "memory": values}
    assert read_at_random(given, 10**9) == given
    assert read_at_random(given, 2 * mapped.nbytes)["file"] is mapped
    found = read_at_random(given, 2 * mapped.nbytes - 1)
    assert found["memory"] is values
    assert found["part"] is given["part"]
    np.testing.assert_array_equal(found["file"], values)
    address = found["file"].__array_interface__["data"][0]
    assert "rr" in vm_flags(address)  # the kernel's word for random reads
    assert "rr" not in vm_flags(mapped.__array_interface__["data"][0])
    with pytest.raises(ValueError, match="read-only"):
        found["file"][0] = 0


def vm_flags(address: int) -> list[str]:
    """Return the kernel's flags of the mapping that holds an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if "-" in name and not name.endswith(":"):
            first, last = (int(part, 16) for part in name.split("-"))
            inside = first <= address < last
        elif inside and name == "VmFlags:":
            return rest.split()
    raise LookupError(hex(address))


@pytest.fixture(params=["fork", "forkserver"])
def start_method(request: pytest.FixtureRequest) -> Iterator[None]:
    """How this Python starts processes by default: by forks, from 3.14 on from a server."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("start_method")
@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_starts_at_the_step_where_the_trainer_stands(
    episodes: PreparedEpisodes, workers: int
) -> None:
    order = batch_order(np.arange(len(episodes)), 12, seed=0)  # 5 steps per epoch
    stream = StepStream(episodes, order, lambda: 7)
    batches = list(loader(stream, workers, False))
    assert len(batches) == 3
    for step, batch in zip((7, 8, 9), batches, strict=True):
        assert torch.equal(batch.arrays["force"], stream.batch(step).arrays["force"])


@pytest.mark.parametrize("scaling", ["standard", "tanh"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_batches_are_normalised_exactly_as_in_core(
    episodes: PreparedEpisodes, scaling: str, channels_last: bool
) -> None:
    modalities = vision_touch(32)
    statistics = {
        m.name: measure_statistics(m, episodes.arrays[m.name], scaling)  # type: ignore[arg-type]
        for m in modalities
    }
    rows = slice(0, 16)
    batch = {m.name: torch.from_numpy(np.array(episodes.arrays[m.name][rows])) for m in modalities}
    ours = BatchNormaliser(modalities, statistics, channels_last)(batch)
    for m in modalities:
        expected = normalise(m, statistics[m.name], episodes.arrays[m.name][rows])
        assert ours[m.name].dtype == torch.float32
        np.testing.assert_allclose(ours[m.name].numpy(), expected, rtol=3e-7, atol=1e-7)


def test_missing_or_misfit_statistics_are_refused() -> None:
    modalities = vision_touch(32)
    with pytest.raises(ConfigError, match="no statistics for modality 'rgb'"):
        BatchNormaliser(modalities, {})
    statistics = {m.name: Statistics() for m in modalities}
    with pytest.raises(ConfigError, match="1 statistics for 6 channels"):
        BatchNormaliser(modalities, statistics)


def test_fingerprint_tells_changed_data(episodes: PreparedEpisodes) -> None:
    from dataclasses import replace

    other = {k: np.array(v) for k, v in episodes.arrays.items()}
    other["action"][3, 1] += 1e-3
    assert fingerprint(episodes) == fingerprint(replace(episodes))
    assert fingerprint(episodes) != fingerprint(replace(episodes, arrays=other))


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_written_whole_and_without_pickle(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "arrays.npz"
    arrays = {"a": np.arange(3), "names": np.array(["x", "yz"])}
    write_arrays(path, arrays, compressed=compressed)
    with np.load(path, allow_pickle=False) as found:
        assert set(found) == set(arrays)
        assert all(np.array_equal(found[k], v) for k, v in arrays.items())
    with pytest.raises(TypeError, match=r"arrays\.npz: b holds Python objects \(object\)"):
        write_arrays(path, {"b": np.array([None])}, compressed=compressed)
    assert [p.name for p in tmp_path.iterdir()] == ["arrays.npz"]


def test_a_reader_of_prepared_records_imports_no_progress_bar_and_no_lightning() -> None:
    code = (
        "import sys, smvae_training.steps.data, smvae_datasets.sources\n"
        "print([n for n in ('rich', 'pytorch_lightning', 'tyro') if n in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
