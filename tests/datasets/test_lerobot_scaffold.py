"""A first robot.yaml from a LeRobot folder, and what stands in it of what is no sensor."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")
pytest.importorskip("rosbags")

from smvae_core.robot import read_robot
from smvae_core.robot.reading import parse_robot
from smvae_datasets.lerobot import LeRobotError, LeRobotFolder
from smvae_datasets.lerobot.folder import Feature
from smvae_datasets.lerobot.scaffold import scaffold_lerobot
from smvae_datasets.lerobot.writer import LeRobotWriter
from tests.datasets import lerobot_folders as made

DATA = Path(__file__).parents[2].parent / "shared/data"


def test_the_humanoids_arms_command_and_head_camera_are_declared() -> None:
    if not (DATA / "g1").exists():
        pytest.skip(f"no real recordings in {DATA}")
    found = scaffold_lerobot(LeRobotFolder(DATA / "g1"))
    robot = parse_robot(found.data)
    assert robot.name == "Unitree_G1_Inspire"
    kinds = {m.name: (m.kind, m.shape) for m in robot.modalities}
    assert kinds == {
        "joints": ("joint_state", (14,)),
        "action": ("vector", (26,)),
        "cam_high": ("color_image", (3, 64, 64)),
    }
    assert robot.modalities[2].options.crop == (0, 80, 480, 560)
    assert not any("Hand" in joint for joint in robot.modalities[0].options.joints)
    assert (robot.episodes.rate_hz, robot.episodes.split_on) == (30.0, "file")
    assert "68 of 100 episodes" in found.left_out[0]
    assert "12 numbers of a hand: kLeftHandPinky" in found.left_out[1]


def test_what_is_no_sensor_is_said_with_the_reason(tmp_path: Path) -> None:
    features = (
        Feature(name="observation.state", dtype="float32", shape=(2,), names=("a.pos", "b.pos")),
        Feature(name="observation.still", dtype="float32", shape=(3,)),
        Feature(name="observation.window", dtype="float32", shape=(4, 2)),
        Feature(name="next.reward", dtype="float32", shape=(1,)),
        Feature(name="next.success", dtype="bool", shape=(1,)),
        Feature(name="observation.map", dtype="image", shape=(48, 64, 1)),
        Feature(name="observation.depth", dtype="image", shape=(64, 64, 1), is_depth=True),
    )
    with LeRobotWriter(tmp_path / "set", features, fps=10, robot="arm 7") as writer:
        writer.add_episode(
            (
                {
                    "observation.state": np.array([90.0 * n, 1.0], np.float32),
                    "observation.still": np.ones(3, np.float32),
                    "observation.window": np.zeros((4, 2), np.float32),
                    "next.reward": np.array([n], np.float32),
                    "next.success": np.array([n > 1]),
                    "observation.map": np.zeros((48, 64), np.uint8),
                    "observation.depth": np.full((64, 64), 500, np.uint16),
                }
                for n in range(4)
            ),
            "reach",
        )
    found = scaffold_lerobot(LeRobotFolder(tmp_path / "set"))
    robot = parse_robot(found.data)
    assert robot.name == "arm_7"
    assert [m.name for m in robot.modalities] == ["joints", "depth"]
    assert robot.modalities[0].options.joints == ("a",)
    assert robot.modalities[0].unit == "1"
    assert "no radians" in found.about["joints"]
    assert [(t.name, t.binary) for t in robot.targets] == [("success", True)]
    assert [line.partition(":")[0] for line in found.left_out] == [
        "observation.state",
        "observation.still",
        "observation.window",
        "next.reward",
        "observation.map",
    ]
    assert found.left_out[1].endswith("it never changes (1 to 1)")


def test_a_folder_without_episodes_declares_no_numbers(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (3,))
    (path / "data/chunk-000/episode_000000.parquet").unlink()
    found = scaffold_lerobot(LeRobotFolder(path))
    assert list(found.data["sensors"]) == ["wrist"]
    assert found.left_out[1] == "observation.state: no row of it"


def test_what_a_folder_says_wrongly_of_itself_stands_as_a_comment(tmp_path: Path) -> None:
    def alter(info: dict[str, Any]) -> None:
        info["features"][made.STATE]["shape"] = [7]

    path = made.write_v21(tmp_path / "set", (6, 6))
    made.change_info(path, alter)
    made.add_column(path, "ragged", [[1.0] * (1 + n % 3) for n in range(6)], [2])
    found = scaffold_lerobot(LeRobotFolder(path))
    assert sorted(found.data["sensors"]) == ["action", "wrist"]
    assert found.left_out == (
        f"{made.STATE}: its rows have 3 numbers, meta says 7",
        "ragged: its rows have 1 or 2 or 3 numbers, meta says 2",
    )
    shutil.rmtree(path / "videos")
    found = scaffold_lerobot(LeRobotFolder(path))
    assert sorted(found.data["sensors"]) == ["action"]
    assert f"{made.CAMERA}: no video of it is there" in found.left_out


def test_a_damaged_episode_is_said_and_the_others_are_declared(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (6, 6, 6))
    tables = sorted(path.glob("data/**/*.parquet"))
    tables[1].write_bytes(b"nothing of the kind")
    found = scaffold_lerobot(LeRobotFolder(path))
    assert sorted(found.data["sensors"]) == ["action", "joints", "wrist"]
    assert len(found.faults) == 1
    assert "episode_000001.parquet, episode_000001: Parquet" in found.faults[0]
    for table in tables:
        table.write_bytes(b"nothing of the kind")
    with pytest.raises(LeRobotError, match="episode_000000: Parquet"):
        scaffold_lerobot(LeRobotFolder(path))


@pytest.mark.parametrize("names", [["channels", "height", "width"], None])
def test_images_may_say_their_channels_first(names: list[str] | None, tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (6,))
    shape = [3, made.HEIGHT, made.WIDTH]
    made.change_info(
        path, lambda info: info["features"][made.CAMERA].update(shape=shape, names=names)
    )
    found = scaffold_lerobot(LeRobotFolder(path))
    assert found.about["wrist"].startswith(f"{made.WIDTH} x {made.HEIGHT} at ")


def test_the_text_reads_as_what_was_found_with_remarks_as_comments(tmp_path: Path) -> None:
    folder = LeRobotFolder(made.write_v21(tmp_path / "set", (4,)))
    found = scaffold_lerobot(folder)
    (tmp_path / "robot.yaml").write_text(found.text(folder.path))
    assert read_robot(tmp_path / "robot.yaml") == parse_robot(found.data)
    text = (tmp_path / "robot.yaml").read_text()
    assert "  # 80 x 64 at 20 Hz\n  wrist:" in text
    assert f"# Left out:\n# - {made.STATE}: 1 numbers never change: shoulder" in text
