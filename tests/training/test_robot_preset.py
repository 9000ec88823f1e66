"""Preset `robot`: settings that follow from the declared sensors, and say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.presets import vision_touch
from smvae_core.robot import read_robot
from smvae_datasets.recordings.build import build_episodes
from smvae_training import robot_preset
from smvae_training.cli import main
from smvae_training.config import AugmentConfig
from smvae_training.presets import preset
from smvae_training.robot_preset import explain, planned_steps, robot
from smvae_training.run import RunRecord
from tests.datasets.recorded import ROBOT, START_NS, motion, write_bag
from tests.declared import JOINTS, POSE, SCAN
from tests.frozen.episodes import write_episodes

SENSORS = vision_touch(64)


def many(count: int) -> tuple[Modality, ...]:
    return tuple(replace(JOINTS, name=f"joints_{i}") for i in range(count))


def test_size_pooling_and_length_follow_from_the_sensors() -> None:
    few, alone, crowd = robot(SENSORS), robot((JOINTS, SCAN, POSE)), robot(many(9))
    assert (few.model.latent_dim, alone.model.latent_dim, crowd.model.latent_dim) == (128, 48, 128)
    assert (few.model.pooling, crowd.model.pooling) == ("paper", "evidence")
    assert (few.model.embedding_dim, crowd.model.embedding_dim) == (512, 256)
    assert (few.batch_size, alone.batch_size) == (32, 128)
    assert few.max_steps < alone.max_steps == robot_preset.STEPS[1]
    large = robot((*vision_touch(128), *many(1)))
    assert large.model.base_channels < few.model.base_channels == 32
    assert robot((JOINTS,)).model.latent_dim == 32
    assert (few.augment, alone.augment) == (AugmentConfig(bias=0.3), AugmentConfig())
    assert preset("robot") == few


def test_the_plan_agrees_with_a_time_that_was_measured() -> None:
    """2,500 steps of 32 records by networks of full size took 8 minutes on two cores."""
    expected = 2500 * robot_preset.BUDGET_S / 480
    assert planned_steps(ModelConfig(), 32) == pytest.approx(expected, rel=0.1)


def test_what_was_chosen_is_said() -> None:
    told = dict(line.split(": ", 1) for line in explain(robot((*SENSORS, SCAN))))
    assert told["sensors"].endswith("action (command), lidar (scan)")
    assert told["weights"].startswith("rgb 1, depth 1.73, force 8, action 55.4, lidar ")
    assert told["windows"] == "force 32 readings, 32 ms"
    assert "for 2 images" in told["image networks"]
    assert told["log variances"].startswith("up to 4, ")
    assert told["augmentation"].startswith("bias 0.3 (")
    other = replace(robot(SENSORS), augment=AugmentConfig(crop=0.03, noise=0.1))
    free = replace(other, model=replace(other.model, log_var_limit=0.0))
    assert "log variances: without a limit" in explain(free)
    assert explain(other)[-1].startswith("augmentation: crop 0.03, noise 0.1 (")
    told = dict(line.split(": ", 1) for line in explain(robot(many(9))))
    assert told["image networks"] == told["windows"] == "none"
    assert told["augmentation"].startswith("off (")
    assert told["pooling"].startswith("evidence, since 9 sensors")
    assert told["length"].startswith("12000 steps of 128 records, about ")


@pytest.mark.parametrize(
    ("share", "lasts"),
    [(2.0, "about 20 minutes"), (1.0, "about 10 minutes"), (0.001, "less than a minute")],
)
def test_the_minutes_follow_the_steps_that_are_given(share: float, lasts: str) -> None:
    planned = robot(SENSORS)
    steps = round(share * planned.max_steps)
    lines = explain(replace(planned, max_steps=steps))
    assert f"length: {steps} steps of 32 records, {lasts} on 2 cores; --max-steps for" in "".join(
        lines
    )


def test_epochs_are_said_where_they_are_the_length() -> None:
    lines = explain(replace(robot(SENSORS), max_steps=0, epochs=3))
    assert "length: 3 epochs in steps of 32 records" in lines


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "expected the folder of its files, got none"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (
            ["--data", "bag"],
            "`smvae episodes bag --robot robot.yaml --out episodes` makes episodes",
        ),
    ],
)
def test_no_plan_is_told_where_there_are_no_episodes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    data: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bag(tmp_path / "bag", motion(0.5), "mcap")
    assert main(["train", "--preset", "robot", "--out", "run", *data]) == 2
    assert said in capsys.readouterr().err
    assert not [m for m in caplog.messages if m.startswith(("sensors: ", "length: "))]


def test_the_command_derives_says_and_trains(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, out = tmp_path / "episodes", tmp_path / "run"
    write_episodes(data)
    words = ["train", "--preset", "robot", "--data", str(data), "--out", str(out), "--no-report"]
    small = ["--model.modalities", "vision_touch:32:force+action", "--max-steps", "2"]
    split = ["--data.held-out", "0.34", "--batch-size", "16"]
    assert main([*words, *small, *split]) == 0
    assert "sensors: force (signal), action (command)" in caplog.messages
    assert any(line.startswith("length: 2 steps of 16 records") for line in caplog.messages)
    config = RunRecord.read(out / "config.json").config
    assert [m.name for m in config.model.modalities] == ["force", "action"]
    assert config.model.latent_dim == 32


def test_a_robots_episodes_are_inspected_and_trained_on_as_declared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, out, run = tmp_path / "bag", tmp_path / "episodes", tmp_path / "run"
    declared = tmp_path / "robot.yaml"
    declared.write_text(ROBOT.replace("min_s: 0.3", "min_s: 0.3, held_out: 0.4"))
    write_bag(bag, [*motion(1.2), *motion(1.0, START_NS + 4_000_000_000, seed=1)], "mcap")
    build_episodes([bag], read_robot(declared), out, progress=False)
    capsys.readouterr()
    assert main(["inspect", str(out)]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert ": robot test_arm, 2 episodes, " in first
    assert [line.split()[0] for line in lines[:6]] == [
        *("wrist", "depth", "force", "joints", "hole", "touching"),
    ]
    assert any(
        line.startswith("training: data: ") and "fewer than a batch" in line for line in lines
    )
    assert lines[-1].startswith("valid, ")
    words = ["train", "--preset", "robot", "--data", str(out), "--out", str(run), "--no-report"]
    assert main([*words, "--max-steps", "1", "--model.base-channels", "2"]) == 0
    config = RunRecord.read(run / "config.json").config
    assert config.model.modalities == read_robot(declared).modalities
    assert config.data.held_out == 0.4
