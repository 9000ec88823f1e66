"""`smvae episodes` of a LeRobot folder, and back by `--to lerobot`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")
pytest.importorskip("rosbags")

from smvae_datasets.lerobot import LeRobotFolder
from smvae_training.cli import main
from tests.datasets import lerobot_folders as made


def test_a_lerobot_folder_becomes_episodes_and_lerobot_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = made.write_v21(tmp_path / "set", (25, 30, 28))
    (path / "data/chunk-000/episode_000002.parquet").unlink()
    video = path / f"videos/chunk-000/{made.CAMERA}/episode_000001.mp4"
    video.write_bytes(video.read_bytes()[:100])
    robot, out, back = (str(tmp_path / name) for name in ("robot.yaml", "episodes", "back"))
    assert main(["robot", "scaffold", str(path), "-o", robot]) == 0
    assert main(["episodes", str(path), "--robot", robot, "--out", out, "--jobs", "1"]) == 0
    said = capsys.readouterr()
    assert "set_episode_000001: 1.5 s, 1 episode, 30 steps" in said.out
    assert f"fault: {made.CAMERA}: 30 of 30 rows have no frame" in said.out
    assert "1 of 3 episodes that meta names are not in the folder: 2" in caplog.text
    assert main(["episodes", out, "--to", "lerobot", "--out", back, "--dry-run"]) == 0
    assert not Path(back).exists()
    assert f"{made.CAMERA}: video 64 x 64 x 3\n" in capsys.readouterr().out
    words = ["episodes", out, "--to", "lerobot", "--out", back, "--task", "reach", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 55
    assert [e.tasks for e in LeRobotFolder(back).present] == [("reach",)] * 2
    assert main(words) == 2
    assert "already there" in capsys.readouterr().err


def test_recordings_become_lerobot_in_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, robot = made.write_v21(tmp_path / "set", (25,)), str(tmp_path / "robot.yaml")
    words = ["episodes", str(path), "--to", "lerobot", "--out", str(tmp_path / "back")]
    assert main(words) == 2
    assert "--robot must be given; `smvae robot scaffold` writes a first one" in (
        capsys.readouterr().err
    )
    assert main(["robot", "scaffold", str(path), "-o", robot]) == 0
    assert main([*words, "--robot", robot]) == 0
    assert len(LeRobotFolder(tmp_path / "back").present) == 1
    assert (tmp_path / "back.episodes/episodes.json").is_file()
