"""Declarations of 1 to 32 sensors are robots, and their sensors can be sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.robots import many_robots
from smvae_core.robot import read_robot


@pytest.mark.parametrize("count", many_robots.COUNTS)
def test_a_declaration_names_every_sensor_and_its_topic_once(tmp_path: Path, count: int) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(many_robots.declaration(count), encoding="utf-8")
    robot = read_robot(path)
    assert len({s.name for s in robot.sensors}) == count
    assert len({s.channel.topic for s in robot.sensors}) == count
    for sensor in robot.sensors:  # a node that is given the bundle alone listens there
        assert sensor.modality.topic == sensor.channel.topic
        assert sensor.modality.message_type == sensor.channel.type


def test_nine_sensors_are_of_every_kind_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(many_robots.declaration(9), encoding="utf-8")
    kinds = [m.kind for m in read_robot(path).modalities]
    wanted = {"color_image": 3, "signal": 3, "scan": 1, "joint_state": 1, "depth_image": 1}
    assert {kind: kinds.count(kind) for kind in kinds} == wanted


def test_a_robot_trains_on_examples_of_its_sensors(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(many_robots.declaration(1), encoding="utf-8")
    run, data = many_robots.train(read_robot(path).modalities, tmp_path / "run", 40, 2)
    assert run.record.step == 2
    assert np.ptp(data.arrays["head0"]) > 0
