"""Two sensors of one topic that read different numbers: from the recording to a replayed bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rosbags")
pytest.importorskip("mcap")

from smvae_core.robot import RobotError, read_robot
from smvae_datasets.recordings.build import build_episodes
from smvae_training.evaluate.bag.evaluate import evaluate_bag
from smvae_training.evaluate.bag.options import BagOptions
from smvae_training.exporting import export_run
from smvae_training.presets import debug
from smvae_training.trainer import train
from tests.datasets.recorded import MS, START_NS, motion, write_bag

WRENCH = "channel: {topic: /wrench, type: geometry_msgs/msg/WrenchStamped}, window_s: 0.032"
JOINTS = "kind: joint_state, channel: {topic: /joints}"
TWO = f"""
robot: two
sensors:
  force: {{kind: signal, {WRENCH}, select: [wrench.force]}}
  torque: {{kind: signal, {WRENCH}, select: [wrench.torque]}}
  left: {{{JOINTS}, joints: [j1]}}
  right: {{{JOINTS}, joints: [j2]}}
episodes: {{rate_hz: 20, gap_s: 0.5, min_s: 0.3}}
"""


def test_sensors_that_read_different_numbers_share_a_topic(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO)
    robot = read_robot(tmp_path / "two.yaml")
    parts = [m for k in range(3) for m in motion(1.0, START_NS + k * 4_000 * MS, k)]
    bag = write_bag(tmp_path / "bag", parts)
    summary = build_episodes([bag], robot, tmp_path / "episodes", progress=False)
    counts = {n: c["messages"] for n, c in summary["recordings"]["bag"]["sensors"].items()}
    assert counts == {"force": 1500, "torque": 1500, "left": 300, "right": 300}
    small = debug()
    small = replace(small, model=replace(small.model, modalities=robot.modalities), max_steps=2)
    run = train(small, tmp_path / "episodes", tmp_path / "run")
    bundle = export_run(run, tmp_path / "bundle", "two", None)
    found = evaluate_bag(bag, bundle, tmp_path / "out", BagOptions(video=False, subsets="none"))
    of = found["modalities"]
    assert {n: of[n]["messages"] for n in counts} == counts
    fused = {n: of[n]["states"]["fused"] for n in counts}
    assert fused["force"] == fused["torque"] > 0.9
    assert fused["left"] == fused["right"] > 0.9


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "[wrench.torque]",
            "[wrench.torque, wrench.force.z]",
            r"force and torque cannot both be read from /wrench: both read wrench\.force\.z; let "
            r"them select different numbers",
        ),
        ("joints: [j2]", "joints: [j1, j2]", r"left and right .* both read position\.j1; "),
        (
            f"{JOINTS}, joints: [j2]",
            "kind: vector, channel: {topic: /joints, type: sensor_msgs/msg/JointState}, "
            "select: ['position[1]']",
            r"left and right .* one message would count as two; .* or joints",
        ),
    ],
)
def test_numbers_that_two_sensors_read_are_named(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "two.yaml"
    assert TWO.count(old) == 1
    path.write_text(TWO.replace(old, new))
    with pytest.raises(RobotError, match=said):
        read_robot(path)


def test_a_column_is_a_topic_in_this(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(TWO.replace("{topic: /joints}", "{feature: state}"))
    assert len(read_robot(path).sensors) == 4
    path.write_text(path.read_text().replace("[j2]", "[j1]"))
    with pytest.raises(RobotError, match=r"cannot both be read from state: both read position\.j1"):
        read_robot(path)
