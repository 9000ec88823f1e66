"""The comparison with supervised networks: the same records, labels and files that are kept."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.targets import (
    OFFSET,
    cameras,
    image_errors,
    of_model,
    predicted,
    row,
    supervised,
    trained,
    with_labels,
)
from smvae_core.modality import all_subsets, subset_name
from smvae_training.evaluate.baselines import training_mean
from smvae_training.evaluate.measures import images
from smvae_training.evaluate.records import Records
from smvae_training.presets import debug
from smvae_training.run import RunError, RunPaths, load_run
from smvae_training.trainer import train_on
from tests.training.conftest import make_episodes


def test_a_share_of_the_records_tells_its_targets() -> None:
    data = make_episodes(trajectories=20, steps=50)
    few = with_labels(data, 0.1, seed=0)
    told = few.targets["hole"].known
    assert 0.05 < told.mean() < 0.15
    np.testing.assert_array_equal(told, few.targets[OFFSET].known)
    np.testing.assert_array_equal(
        few.targets[OFFSET].values[told], data.targets[OFFSET].values[told]
    )


def test_a_row_names_what_is_unusual_of_a_training() -> None:
    assert row("0.1", 0, 0.5) == "labels 0.1"
    assert row("0.1", 1, 0.0) == "labels 0.1, seed 1, share 0"
    assert row("all", 0, 0.5, 0.0) == "labels all, decode on 0"
    assert row("0.1", 0, 0.5, rest=True) == "labels 0.1, rest"
    assert row("0.1", 0, 0.5, rest=True, small=True) == "labels 0.1, rest, small"


def test_an_interrupted_training_goes_on_to_its_end(tmp_path: Path) -> None:
    data = make_episodes()
    config = replace(debug(), data=replace(debug().data, targets=("all",)))
    train_on(config, data, RunPaths(tmp_path / "run"), None, stop_after=2)
    begun = load_run(tmp_path / "run").record
    assert begun.step == 2 < begun.total_steps
    assert trained(config, data, tmp_path / "run").record.finished


def test_a_finished_training_of_other_settings_is_refused(tmp_path: Path) -> None:
    data, config = make_episodes(), replace(debug(), max_steps=2)
    assert trained(config, data, tmp_path / "run").record.finished
    other = replace(config, data=replace(config.data, labelled_share=0.25))
    with pytest.raises(RunError, match=r"settings: --data\.labelled-share 0\.5 -> 0\.25\. Give"):
        trained(other, data, tmp_path / "run")


def test_a_network_is_kept_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_episodes()
    config = replace(debug(), data=replace(debug().data, targets=("all",)))
    run = trained(config, data, tmp_path / "run")

    def full(_state, file):
        with open(file, "wb") if isinstance(file, Path) else nullcontext(file) as opened:
            opened.write(b"half of it")
        raise OSError(28, "No space left on device")

    file = tmp_path / "supervised" / "rgb.pt"
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        supervised(config, data, run, ("rgb",), file)
    assert list(file.parent.iterdir()) == []


def test_a_network_of_other_settings_or_labels_is_refused(tmp_path: Path) -> None:
    data = make_episodes()
    config = replace(debug(), max_steps=2, data=replace(debug().data, targets=("all",)))
    run = trained(config, data, tmp_path / "run")
    file = tmp_path / "supervised" / "rgb.pt"
    supervised(config, data, run, ("rgb",), file)
    ours_alone = replace(config, data=replace(config.data, decode_on=0.5))
    supervised(ours_alone, data, run, ("rgb",), file)
    for other in (replace(config, batch_size=7), replace(config, max_steps=3)):
        with pytest.raises(RunError, match=r"otherwise: (batch size \d+ -> 7|steps 2 -> 3)\. Give"):
            supervised(other, data, run, ("rgb",), file)
    few = with_labels(data, 0.5, seed=0)
    with pytest.raises(RunError, match=r"rgb\.pt: was trained otherwise: records \w+ -> \w+\."):
        supervised(config, few, run, ("rgb",), file)
    kept = torch.load(file, weights_only=True)
    torch.save(kept["weights"], file)  # as it was kept before
    with pytest.raises(RunError, match="otherwise: steps None -> 2, "):
        supervised(config, data, run, ("rgb",), file)


def test_both_are_trained_on_the_same_labels_and_scored_alike(tmp_path: Path) -> None:
    data, unseen = make_episodes(), make_episodes(trajectories=2, steps=8)
    config = replace(debug(), data=replace(debug().data, targets=("all",)))
    run = trained(config, data, tmp_path / "run")
    assert trained(config, data, tmp_path / "run").record.step == run.record.step
    test = Records.of(unseen, np.arange(len(unseen)), 100)
    found = of_model(run, data, test)
    assert set(found) == {subset_name(s) for s in all_subsets(run.model.names)}
    assert found["rgb"]["offset"]["always"]["unknown"] == {"x": 0.0, "y": 0.0, "z": 0.0}
    sensors = config.model.modalities
    means = {m.name: training_mean(m, data, np.arange(len(data)), 100) for m in images(sensors)}
    assert set(image_errors(run, test, means)["force"]) == {"rgb", "depth"}
    assert len(cameras(config)) == 12
    file = tmp_path / "supervised" / "rgb.pt"
    first = predicted(*supervised(config, data, run, ("rgb",), file), test)
    assert file.is_file()
    torch.manual_seed(5)
    again = predicted(*supervised(config, data, run, ("rgb",), file), test)
    assert first.shape == (16, 3)
    np.testing.assert_array_equal(first, again)
