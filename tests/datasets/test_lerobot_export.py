"""Recordings -> episodes -> LeRobot v3 -> recordings again: values, times and absence stay."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")
pytest.importorskip("rosbags")

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.messages import ConversionOptions
from smvae_core.robot import Robot, read_robot
from smvae_core.robot.reading import parse_robot
from smvae_datasets.lerobot import LeRobotEpisode, LeRobotError, LeRobotFolder
from smvae_datasets.lerobot.export import write_lerobot
from smvae_datasets.lerobot.scaffold import scaffold_lerobot
from smvae_datasets.recordings.build import build_episodes
from smvae_datasets.recordings.prepared import prepare_recordings
from tests.datasets import lerobot_folders as made
from tests.datasets import recorded


def rows_of(path: Path, number: int = 0) -> dict[str, list[Any]]:
    """Return the messages of one episode, by feature."""
    folder = LeRobotFolder(path)
    episode = LeRobotEpisode(folder, folder.present[number])
    found: dict[str, list[Any]] = {name: [] for name in episode.topics}
    for topic, _, cell in episode.messages():
        found[topic].append(episode.decode(topic, cell))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> LeRobotFolder:
    return LeRobotFolder(made.write_v21(tmp_path_factory.mktemp("lerobot") / "set", (25, 30)))


@pytest.fixture(scope="module")
def robot(folder: LeRobotFolder) -> Robot:
    data = scaffold_lerobot(folder).data
    data["sensors"]["wrist"] |= {"size": [32, 32]}
    return parse_robot(data)


@pytest.fixture(scope="module")
def episodes(folder: LeRobotFolder, robot: Robot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("episodes") / "out"
    summary = build_episodes([folder.path], robot, out, jobs=1, progress=False)
    assert (summary["episodes"], summary["steps"]) == (2, 55)
    return out


def test_every_row_becomes_a_step_that_holds_all_of_it(episodes: Path, robot: Robot) -> None:
    data = prepare_recordings(episodes, robot.modalities, progress=False)
    assert data.recorded.all()
    assert len(data) == 55
    joints = np.concatenate([[made.state(e, n) for n in range(c)] for e, c in ((0, 25), (1, 30))])
    chosen = [made.JOINTS.index(j) for j in robot.modalities[0].options.joints]
    assert np.array_equal(data.arrays["joints"], joints[:, chosen])


def test_a_crop_larger_than_an_example_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "HEIGHT", 160)
    monkeypatch.setattr(made, "WIDTH", 200)
    path = made.write_v21(tmp_path / "set", (22,))
    robot = parse_robot(scaffold_lerobot(LeRobotFolder(path)).data)
    assert robot.modalities[-1].options.crop == (0, 20, 160, 180)
    build_episodes([path], robot, tmp_path / "out", jobs=1, progress=False)
    data = prepare_recordings(tmp_path / "out", robot.modalities, progress=False)
    assert data.recorded.all()


def test_only_an_episode_that_changed_is_converted_again(robot: Robot, tmp_path: Path) -> None:
    path, out = made.write_v21(tmp_path / "set", (22, 23)), tmp_path / "out"

    def converted() -> list[int]:
        build_episodes([path], robot, out, jobs=1, progress=False)
        return [file.stat().st_mtime_ns for file in sorted(out.glob("*/recording.json"))]

    first = converted()
    assert converted() == first
    os.utime(path / "data/chunk-000/episode_000001.parquet", ns=(1, 1))
    again = converted()
    assert (again[0] == first[0], again[1] == first[1]) == (True, False)


def test_what_came_from_lerobot_goes_back_as_it_was(episodes: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    summary = write_lerobot(
        episodes, tmp_path / "back", task="reach", advance=lambda *done: told.append(done)
    )
    assert (summary["rows"], summary["empty_rows"], told) == (55, 0, [(1, 55)] * 55)
    back = LeRobotFolder(tmp_path / "back")
    assert set(back.features) == {made.STATE, made.ACTION, made.CAMERA, "present"}
    assert [e.tasks for e in back.present] == [("reach",)] * 2
    rows = rows_of(tmp_path / "back", 1)
    top, left, bottom, right = 0, 8, 64, 72  # what the scaffold cuts
    for number in range(30):
        assert list(rows[made.ACTION][number].data) == made.state(1, number).tolist()
        assert list(rows["present"][number].data) == [True] * 3
        picture = made.picture(1, number)[top:bottom, left:right]
        error = np.abs(rows[made.CAMERA][number].data.reshape(picture.shape).astype(int) - picture)
        assert error.mean() < 8


def test_absence_windows_depth_and_targets_of_a_bag_are_kept(tmp_path: Path) -> None:
    silent = [
        m
        for m in recorded.motion(1.2)
        if not (m.topic == "/joints" and m.stamp_ns > recorded.START_NS + 600 * recorded.MS)
    ]
    bag = recorded.write_bag(tmp_path / "bag", silent)
    (tmp_path / "robot.yaml").write_text(recorded.ROBOT)
    robot = read_robot(tmp_path / "robot.yaml")
    build_episodes([bag], robot, tmp_path / "episodes", progress=False)
    write_lerobot(tmp_path / "episodes", tmp_path / "back", action="joints")
    back = LeRobotFolder(tmp_path / "back")
    shapes = {name: (f.dtype, f.shape) for name, f in back.features.items()}
    assert shapes == {
        "observation.images.wrist": ("image", (40, 48, 3)),  # too small for a video
        "observation.images.depth": ("image", (40, 48, 1)),
        "observation.force": ("float32", (32, 6)),
        "action": ("float32", (2,)),
        "target.hole": ("float32", (3,)),
        "target.touching": ("float32", (1,)),
        "present": ("bool", (4,)),
    }
    rows = rows_of(tmp_path / "back")
    present = np.array([m.data for m in rows["present"]])
    joints = np.array([m.data for m in rows["action"]])
    assert 0.3 < present[:, 3].mean() < 0.7
    assert np.array_equal(np.isfinite(joints).all(axis=1), present[:, 3])
    depth = robot.modalities[1]
    converter = depth.converter("sensor_msgs/msg/CompressedImage")
    seen = [
        converter.to_array(depth, m, ConversionOptions())
        for m, there in zip(rows["observation.images.depth"], present[:, 1], strict=True)
        if there
    ]
    assert 0.5 < np.min(seen) < np.max(seen) < 1.1
    holes = np.array([m.data for m in rows["target.hole"]])
    assert np.nanmax(np.abs(holes)) <= 1


def test_what_cannot_be_written_is_one_clear_line(episodes: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModality, match=r"'joins'.*Did you mean 'joints'"):
        write_lerobot(episodes, tmp_path / "x", action="joins")
    with pytest.raises(ConfigError, match="two sensors would both be the feature 'action'"):
        write_lerobot(episodes, tmp_path / "x", action="joints")
    (tmp_path / "x").mkdir()
    with pytest.raises(LeRobotError, match="already there"):
        write_lerobot(episodes, tmp_path / "x")
