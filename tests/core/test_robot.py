"""robot.yaml: what it declares, what is refused, and that it reads as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smvae_core import kinds
from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.modality import Modality
from smvae_core.robot import (
    Channel,
    EpisodeRules,
    Qos,
    RecordedTarget,
    Robot,
    RobotError,
    Sensor,
    read_robot,
    to_yaml,
    write_yaml,
)
from smvae_core.robot.reading import load_yaml

ROBOTS = Path(__file__).resolve().parent.parent / "robots"
ARM = (ROBOTS / "my_arm.yaml").read_text(encoding="utf-8")
#: The kinds and keys that the arm has not, and columns of a data set.
OTHERS = (ROBOTS / "base.yaml").read_text(encoding="utf-8")


def written(folder: Path, text: str) -> Path:
    path = folder / "robot.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> Robot:
    return read_robot(written(folder, text))


def test_a_declaration_gives_sensors_channels_settings_targets_and_rules(tmp_path: Path):
    robot = read(tmp_path, ARM)
    wrist, depth, force, joints, command = robot.sensors
    assert robot.name == "my_arm"
    assert robot.modalities == tuple(s.modality for s in robot.sensors)
    assert wrist.channel == Channel(
        topic="/wrist/color/image_raw",
        type="sensor_msgs/msg/Image",
        qos=Qos(reliability="best_effort", depth=1),
    )
    assert (wrist.modality.shape, wrist.modality.options.crop) == ((3, 64, 64), (0, 80, 480, 560))
    assert depth.modality.options.range_m == (0.05, 3.0)
    assert (force.modality.shape, force.modality.options.below) == ((6, 32), "wrench")
    assert force.modality.fields[2:4] == ("force.z", "torque.x")
    assert (force.modality.unit, force.settings) == ("N, N m", {"frame_id": "tool0"})
    assert joints.optional
    assert joints.modality.fields == ("position.j1", "position.j2", "velocity.j1", "velocity.j2")
    assert joints.modality.unit == "rad, rad/s"
    assert command.settings == {"step_time_s": 0.05, "hold_last_s": 0.2}
    assert robot.targets[0] == RecordedTarget(
        name="hole",
        channel=Channel(topic="/ground_truth"),
        select=("pose.position",),
        unit="m",
        frame_id="base_link",
    )
    assert "frame_id" in robot.to_json()["targets"][0]
    assert "frame_id" not in robot.to_json()["targets"][1], "as runtimes of before read it"
    assert robot.targets[1].binary
    assert robot.episodes == EpisodeRules()
    assert robot.parameters()["modalities.wrist.max_skew_s"] == 0.05
    assert robot.parameters()["modalities.force.topic"] == "/ft_sensor/wrench"


def test_other_kinds_expand_what_they_select(tmp_path: Path):
    lidar, imu, odometry, arm, wheels, grey = read(tmp_path, OTHERS).sensors
    assert (lidar.modality.shape, lidar.modality.options.angles_rad) == ((2, 96), (-2.0, 2.0))
    assert imu.modality.fields[2:] == ("angular_velocity.z", "linear_acceleration.x")
    assert (imu.modality.shape, imu.modality.unit) == ((4, 32), "rad/s, m/s^2")
    assert odometry.modality.fields == (
        *("pose.pose.position.x", "pose.covariance[0]", "pose.covariance[1]"),
        *(f"twist.twist.linear.{axis}" for axis in "xyz"),
    )
    assert arm.modality.fields == ("pan.pos", "lift.pos")
    assert wheels.modality.fields == ("l", "r")
    assert (grey.modality.options.fit, grey.modality.options.crop) == ("pad", (0, 0, 9, 9))


@pytest.mark.parametrize("text", [ARM, OTHERS])
def test_a_robot_survives_json_and_yaml_short_and_whole(tmp_path: Path, text: str):
    robot = read(tmp_path, text)
    assert Robot.from_json(json.loads(json.dumps(robot.to_json()))) == robot
    write_yaml(robot, tmp_path / "short.yaml")
    assert read_robot(tmp_path / "short.yaml") == robot
    whole = to_yaml(robot, load_yaml(tmp_path / "robot.yaml"))
    again = read(tmp_path, whole)
    assert (again.modalities, again.targets) == (robot.modalities, robot.targets)


def test_what_a_file_does_not_say_is_marked_as_default(tmp_path: Path):
    robot = read(tmp_path, ARM)
    lines = to_yaml(robot, load_yaml(tmp_path / "robot.yaml")).splitlines()
    marked = {line.split("#")[0].strip() for line in lines if line.endswith("# default")}
    assert "fit: crop" in marked  # of the depth
    assert "min_samples: 3" in marked
    said = ("kind", "range_m: [0.05, 3.0]", "max_skew_s: 0.05", "window_s")
    assert not any(line.startswith(said) for line in marked)


def test_every_kind_that_a_message_carries_can_be_declared():
    carried = {"color_image", "depth_image", "signal", "joint_state", "scan", "vector", "command"}
    assert {k.name for k in kinds.kinds() if k.keys is not None} == carried


REFUSED = [
    ("size: [64, 64]", "sice: [64, 64]", r"sensors\.wrist\.sice: no such key.*mean 'size'"),
    (
        "kind: signal",
        "kind: label",
        r"sensors\.force\.kind: no robot has a 'label'; there are color_image, command, "
        r"depth_image, joint_state, scan, signal, vector\.$",
    ),
    ("kind: signal", "kind: signl", r"are color_image, .*, vector\. Did you mean 'signal'\?$"),
    ("size: [64, 64]", "size: 64", r"wrist\.size: expected a list of two.*got 64"),
    ("size: [64, 64]", "size: [60, 60]", r"sensors\.wrist: .*32, 64 or 128"),
    ("depth: 1}", "depht: 1}", r"sensors\.wrist\.channel\.qos\.depht: .*'depth'"),
    ("best_effort", "besteffort", r"wrist\.channel\.qos: reliability must be best_effort or"),
    ("max_skew_s: 0.05", "max_skew_s: 50 ms", r"wrist\.max_skew_s: expected a number"),
    ("window_s: 0.032", "window_s: 1.0e9", r"a window has at most \d+ readings.*lower window_s"),
    ("size: [64, 64]", "size: [0, 64]", r"each size of it must be at least 1, got \(3, 0, 64\)"),
    ("wrist:", f"{'a' * 65}:", "a name has at most 64 letters, got 65"),
    ("topic: /wrist", "topic: /gr\u00fc\u00df", "is no name of a topic"),
    ("min_s: 1.0", "min_s: 3.0, max_s: 2.0", "no episode would be long enough"),
    ("max_skew_s: 0.05", "max_skew_s: 99", r"wrist\.max_skew_s: must lie in \[0, 60\], got 99"),
    ("max_skew_s: 0.05", "max_skew_s: 0.05\n    max_age_s: 0.01", "must exceed max_skew_s"),
    ("max_skew_s: 0.05", "max_skew_s: 0.05\n    max_skew_s: 0.1", r'line 9: .*key "max_skew_s"$'),
    ("frame_id: tool0", "unit: lbf in", r"force\.unit: 'lbf in' is not SI \(lbf\): .* in N, N m"),
    ("optional: true", "unit: deg", r"joints\.unit: 'deg' is not SI .* are in rad"),
    ("optional: true", "unit: °", r"joints\.unit: '°' is not SI"),
    ("fit: {crop: [0, 80, 480, 560]}", "fit: {crop: [9, 8]}", r"crop must be top, left"),
    ("fit: {crop: [0, 80, 480, 560]}", "fit: {corp: [9, 8]}", r"wrist\.fit: expected crop, pad"),
    ("[0.05, 3.0]", "[3.0, 0.05]", r"sensors\.wrist_depth: range_m must be near and far"),
    ("window_s: 0.032", "window_s: 0.0325", r"sensors\.force: window_s 0\.0325 .* 0\.032 is 32"),
    ("window_s: 0.032", "window_s: 0.030", r"sensors\.force: .*multiple of 16 readings, got 30"),
    ("[wrench.force,", "[wrench.forces,", r"no 'forces', has force, torque\. Did you mean 'force'"),
    ("[wrench.force,", "[header.frame_id,", r"frame_id is text, not a number"),
    ("[wrench.force,", "[wrench.torque,", r"force\.select: expected different names"),
    ("[wrench.force,", "[wrench.torque.x,", r"wrench\.torque\.x is selected twice"),
    ("[position, velocity]", "[place]", r"sensors\.joints: select must be some of position"),
    ("joints: [j1, j2], ", "", r"sensors\.joints: joints must be said"),
    ("optional: true", "optional: 1", r"joints\.optional: expected true or false, got 1"),
    ("/twist_cmd", "/joint_states", r"joints and command cannot both be read from /joint_states"),
    ("/twist_cmd", "/twist cmd", r"command\.channel: topic '/twist cmd' is no name"),
    ("{topic: /twist_cmd}", "{}", r"command\.channel: topic or feature must be said"),
    ("  touching:", "  force:", r"'force' names two of the sensors and targets"),
    ("select: [data], ", "", r"targets\.touching: select must be said"),
    ("split_on: gap", "split_on: gaps", r"episodes: split_on must be gap or file"),
    ("held_out: 0.2", "trigger: wirst", r"one of timer, wrist, .* Did you mean 'wrist'\?"),
    ("held_out: 0.2", "held_out: 20", r"episodes: held_out must lie in \[0, 0\.9\]"),
    ("robot: my_arm", "robot: my arm", r"robot 'my arm': a name is"),
    ("robot: my_arm\n", "", r"robot: must be said"),
    ("  wrist:\n", "  Wrist:\n", r"modality 'Wrist': a name is"),
    (
        "sensor_msgs/msg/Image,",
        "sensor_msgs/msg/Imu,",
        r"wrist\.channel\.type: .*is read from sensor_msgs/msg/Image",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "match"), REFUSED)
def test_what_is_wrong_is_named_with_what_would_be_right(
    tmp_path: Path, right: str, wrong: str, match: str
):
    assert right in ARM
    with pytest.raises(RobotError, match=match) as raised:
        read(tmp_path, ARM.replace(right, wrong, 1))
    assert str(raised.value).startswith(str(tmp_path / "robot.yaml"))
    assert "\n" not in str(raised.value)


def test_other_units_of_joints_and_columns_are_said_as_they_are(tmp_path: Path):
    lift = read(tmp_path, ARM.replace("optional: true", "unit: 'm, m/s'")).sensors[3]
    assert lift.modality.unit == "m, m/s"
    column = "{kind: joint_state, channel: {feature: s}, joints: [j], unit: deg}"
    assert read(tmp_path, f"robot: a\nsensors: {{s: {column}}}").sensors[0].modality.unit == "deg"


@pytest.mark.parametrize("text", ["", "- a", "a: b: c", "robot: x\nsensors: [1]", "robot: x"])
def test_a_file_that_declares_no_robot_is_refused(tmp_path: Path, text: str):
    with pytest.raises(RobotError, match=r"robot\.yaml"):
        read(tmp_path, text)


def test_tags_that_would_run_code_are_refused(tmp_path: Path):
    with pytest.raises(RobotError, match="cannot be read"):
        read(tmp_path, "robot: !!python/object/apply:os.getcwd []\n")


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(RobotError, match=r"expected a robot.yaml, got nothing"):
        read_robot(tmp_path / "none.yaml")


@pytest.mark.parametrize("count", [0, 33])
def test_a_robot_has_one_to_32_sensors(tmp_path: Path, count: int):
    sensors = [f"  s{i}: {{kind: scan, channel: {{topic: s{i}}}}}" for i in range(count)]
    with pytest.raises(RobotError, match=f"1 to 32 sensors, got {count}"):
        read(tmp_path, "\n".join(["robot: r", "sensors:", *(sensors or ["  {}"])]))


def test_a_preset_is_declared_as_well_as_a_file(tmp_path: Path):
    """A robot made in code is written, and reads as the same sensors."""
    modality = Modality(
        name="imu", kind="signal", shape=(3, 16), unit="rad/s", fields=("x", "y", "z"),
        options={"rate_hz": 100.0, "below": "angular_velocity"},
        topic="/imu", message_type="sensor_msgs/msg/Imu",
    )  # fmt: skip
    channel = Channel(topic="/imu", type="sensor_msgs/msg/Imu")
    robot = Robot(name="r", sensors=(Sensor(modality=modality, channel=channel),))
    write_yaml(robot, tmp_path / "robot.yaml")
    found = read_robot(tmp_path / "robot.yaml").modalities[0]
    assert (found.shape, found.unit) == (modality.shape, modality.unit)


def test_a_model_must_be_of_the_declared_sensors(tmp_path: Path):
    robot = read(tmp_path, ARM)
    robot.require(robot.modalities[1:])
    smaller = read(tmp_path, ARM.replace("size: [64, 64]", "size: [32, 32]"))
    with pytest.raises(ConfigError, match=r"wrist with shape \(3, 64, 64\), .* \(3, 32, 32\)"):
        robot.require(smaller.modalities)
    with pytest.raises(UnknownModality, match="unknown modality 'lidar'"):
        robot.require(read(tmp_path, OTHERS).modalities)
