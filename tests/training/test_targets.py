"""Training with targets: which, where they lie, resumed exactly, learned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from smvae_core.errors import ConfigError
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Target
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import OptimizerConfig, TrainConfig
from smvae_training.run import RunError, RunPaths, RunRecord, load_run
from smvae_training.steps.callbacks import read_metrics
from smvae_training.steps.targets import declare, with_targets
from tests.training.short_runs import WithSteps, run


def asking(config: TrainConfig, *names: str) -> TrainConfig:
    return replace(config, data=replace(config.data, targets=names))


def with_target(data: PreparedEpisodes, name: str, values: np.ndarray) -> PreparedEpisodes:
    found = replace(data.targets[name], values=values.astype(np.float32))
    return replace(data, targets={**data.targets, name: found})


def test_all_are_those_that_training_records_tell(
    config: TrainConfig, episodes: PreparedEpisodes
) -> None:
    train = np.arange(40)
    offset = episodes.targets["offset"].values
    unknown = with_target(episodes, "offset", np.where(np.arange(60)[:, None] < 40, np.nan, offset))
    found = with_targets(asking(config, "all"), unknown, train).model.targets
    assert [t.name for t in found] == ["hole", "contact"]
    assert [t.name for t in with_targets(config, episodes, train).model.targets] == []
    with pytest.raises(ConfigError, match="fewer than two training records tell 'offset'"):
        with_targets(asking(config, "offset"), unknown, train)
    with pytest.raises(ConfigError, match=r"no 'ofset'.*Did you mean 'offset'"):
        with_targets(asking(config, "ofset"), episodes, train)


def test_mean_and_deviation_are_of_training_records_that_tell() -> None:
    values = np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, 5.0]], np.float32)
    found = declare("t", Target(values=values, unit="m", fields=("x", "y")))
    assert found == DecodedTarget(
        name="t", mean=(2.0, 5.0), deviation=(1.0, 1.0), unit="m", fields=("x", "y")
    )


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_stopping_and_resuming_equals_going_straight(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path, schedule: str
) -> None:
    settings = OptimizerConfig(schedule=schedule, warmup=1)
    config = asking(replace(config, optimizer=settings), "offset", "contact")
    straight = run(config, episodes, tmp_path / "straight")
    run(config, episodes, tmp_path / "stopped", stop_after=2)
    stopped = run(config, episodes, tmp_path / "stopped", resume=True)
    ours, theirs = load_file(stopped.weights), load_file(straight.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert any(name.startswith("targets.offset") for name in theirs)
    assert [t.name for t in load_run(tmp_path / "straight").model_config.targets] == [
        "offset",
        "contact",
    ]


def told_by(data: PreparedEpisodes, name: str, told: np.ndarray) -> PreparedEpisodes:
    """Return the records, of which those `told` (N,) alone tell a target."""
    return with_target(data, name, np.where(told[:, None], data.targets[name].values, np.nan))


def test_a_resume_with_labels_that_were_added_is_refused(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    config = asking(config, "all")
    third = np.arange(len(episodes)) % 3 == 0
    few = told_by(episodes, "offset", third)
    run(config, few, tmp_path / "run", stop_after=2)
    with pytest.raises(RunError, match="trained on other labels: target 'offset' had mean"):
        run(config, episodes, tmp_path / "run", resume=True)
    without = replace(few, targets={n: t for n, t in few.targets.items() if n != "contact"})
    with pytest.raises(RunError, match="target 'contact' is gone"):
        run(config, without, tmp_path / "run", resume=True)
    again = load_file(run(config, few, tmp_path / "run", resume=True).weights)
    straight = load_file(run(config, few, tmp_path / "straight").weights)
    assert all(torch.equal(again[name], straight[name]) for name in straight)


def test_labels_that_leave_mean_and_deviation_are_counted(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    """Every other of the steps tells contact: as many with it as in all of them."""
    config = asking(config, "contact")
    run(config, told_by(episodes, "contact", np.arange(len(episodes)) % 2 == 0), tmp_path, False, 2)
    trained = len(load_run(tmp_path).record.train_trajectories) * 12
    expected = f"'contact' was told by {trained // 2} training records, is told by {trained}"
    with pytest.raises(RunError, match=expected):
        run(config, episodes, tmp_path, resume=True)


def test_a_run_that_counted_no_labels_is_resumed_with_the_same_and_refused_with_others(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    paths = run(asking(config, "hole"), episodes, tmp_path, stop_after=2)
    old = json.loads(paths.config.read_text())
    assert old.pop("labelled") == {"hole": 48}
    paths.config.write_text(json.dumps(old))
    moved = with_target(episodes, "hole", episodes.targets["hole"].values + 1e-3)
    with pytest.raises(RunError, match="target 'hole' had mean"):
        run(asking(config, "hole"), moved, tmp_path, resume=True)
    rounded = np.nextafter(episodes.targets["hole"].values, np.float32(9.0))  # another machine's
    run(asking(config, "hole"), with_target(episodes, "hole", rounded), tmp_path, resume=True)
    record = RunRecord.read(paths.config)
    assert record.finished
    assert record.labelled == {"hole": 48}


def test_labels_of_what_is_not_decoded_may_change(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    none = told_by(episodes, "offset", np.zeros(len(episodes), bool))
    run(asking(config, "contact"), none, tmp_path, stop_after=2)
    paths = run(asking(config, "contact"), episodes, tmp_path, resume=True)
    assert RunRecord.read(paths.config).finished


def test_targets_are_learned_from_few_labels_and_the_sensors_as_well(
    with_steps: WithSteps, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    optimizer = OptimizerConfig(lr=3e-3, schedule="constant", warmup=0)
    config = replace(with_steps(120), optimizer=optimizer, batch_size=64, annealing=1.0)
    config = replace(config, log=replace(config.log, every=10, checkpoint_every=0))
    labelled = np.arange(len(episodes))[:, None] % 3 == 0
    few = with_target(
        episodes, "offset", np.where(labelled, episodes.targets["offset"].values, np.nan)
    )
    rows = read_metrics(run(asking(config, "offset"), few, tmp_path / "run").metrics)
    constant = -1.5 * (1.0 + np.log(2.0 * np.pi))  # three numbers, each by its mean and deviation
    assert rows[-1]["log_likelihood/offset"] > constant + 2.0 > rows[0]["log_likelihood/offset"]
    assert rows[-1]["elbo"] > 0 > rows[0]["elbo"]


def test_a_run_without_targets_writes_the_keys_of_before(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    paths: RunPaths = run(config, episodes, tmp_path / "run")
    assert not any(name.startswith("targets") for name in load_file(paths.weights))
    assert not any("offset" in key for row in read_metrics(paths.metrics) for key in row)
