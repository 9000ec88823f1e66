"""A first robot.yaml from a bag in every storage: what is declared, what is left out and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from smvae_core.bags import Bag, BagError
from smvae_core.robot import RobotError, read_robot
from smvae_core.robot.declaration import EpisodeRules
from smvae_core.robot.reading import parse_robot
from smvae_datasets import naming
from smvae_datasets.recording_forms import scaffold
from smvae_datasets.recordings.build import build_episodes
from smvae_datasets.recordings.fitting import fits
from smvae_datasets.recordings.inspect import inspect_episodes
from smvae_datasets.recordings.prepared import prepare_recordings
from smvae_datasets.recordings.scaffold import _longest_s, scaffold_bag
from smvae_datasets.scaffold import Scaffold
from tests.datasets import recorded
from tests.datasets.recorded import LATENCY_NS, MS, START_NS, STORAGES, Recorded, motion, write_bag


def stream(topic: str, message_type: str, rate_hz: float, value: Any, seconds: float = 2.0):
    """Yield messages at a rate; `value` makes one of its number."""
    for n in range(round(seconds * rate_hz)):
        stamp = START_NS + round(n / rate_hz * 1e9)
        yield Recorded(topic, message_type, stamp, stamp + LATENCY_NS, value(n))


def in_order(*streams: Iterator[Recorded]) -> list[Recorded]:
    return sorted((m for s in streams for m in s), key=lambda m: m.received_ns)


def of_bag(path: Path) -> Scaffold:
    with Bag(path) as bag:
        return scaffold_bag(bag)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_is_declared_held_against_itself_and_converted(tmp_path: Path, storage: str) -> None:
    bag = write_bag(tmp_path / "run1", motion(1.5), storage)
    found, file = scaffold(bag), tmp_path / "robot.yaml"
    file.write_text(found.text(bag))
    robot = read_robot(file)
    assert robot.name == "run1"
    assert {m.name: (m.kind, m.shape) for m in robot.modalities} == {
        "wrist": ("color_image", (3, 64, 64)),
        "depth": ("depth_image", (1, 64, 64)),
        "wrench": ("signal", (6, 32)),
        "joints": ("joint_state", (2,)),
        "pose": ("signal", (3, 32)),
    }
    assert [(t.name, t.binary) for t in robot.targets] == [("contact", True)]
    options = {m.name: m.options for m in robot.modalities}
    assert options["wrist"].crop == (0, 4, 40, 44)
    assert options["wrench"].rate_hz == pytest.approx(500.0)
    near, far = options["depth"].range_m
    assert 0.3 < near < 0.65
    assert 1.0 < far < 1.3
    assert robot.episodes.rate_hz == 20.0
    with Bag(bag) as recording:
        held = fits(robot, recording)
    assert not [fit.wrong for fit in held if fit.wrong]
    rates = {fit.name: fit.rate_hz for fit in held}
    assert rates["wrench"] == pytest.approx(500.0, rel=0.01)
    assert rates["wrist"] == pytest.approx(20.0, rel=0.01)
    (converted,) = build_episodes([bag], robot, tmp_path / "out", progress=False)[
        "recordings"
    ].values()
    assert not converted["faults"]
    assert all(not counts["refused"] for counts in converted["sensors"].values())


def test_a_short_recording_is_cut_so_that_an_episode_can_be_held_out(tmp_path: Path) -> None:
    bag, out = write_bag(tmp_path / "run1", motion(11.0)), tmp_path / "out"
    file = tmp_path / "robot.yaml"
    file.write_text(scaffold(bag).text(bag))
    assert "  # 11.0 s are cut into episodes of so many seconds" in file.read_text()
    robot = read_robot(file)
    assert robot.episodes.max_s == 2.2
    assert build_episodes([bag], robot, out, progress=False)["episodes"] == 5
    found = inspect_episodes(out, progress=False)
    assert found.valid
    data = json.loads(json.dumps(found.to_json()))
    assert (data["episodes"], data["steps"], data["valid"]) == (5, len(found.data), True)
    assert data["sensors"]["wrench"]["shape"] == [6, 32]
    whole = replace(robot, episodes=replace(robot.episodes, max_s=60.0))
    build_episodes([bag], whole, out, progress=False)
    said = inspect_episodes(out, progress=False)
    assert not said.valid
    assert "error: data: 1 episode, and whole ones are held out: at least 2" in said.lines[-2]


@pytest.mark.parametrize(
    ("seconds", "max_s"), [(2.5, 60.0), (4.0, 2.0), (290.0, 58.0), (300.0, 60.0), (4000.0, 60.0)]
)
def test_only_what_is_short_and_has_room_for_two_is_cut(seconds: float, max_s: float) -> None:
    assert (_longest_s(seconds) or EpisodeRules.max_s) == max_s


def test_each_type_becomes_its_kind_with_what_the_messages_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def scan(n: int) -> dict[str, Any]:
        limits = {"angle_min": -1.5, "angle_max": 1.5, "range_min": 0.1, "range_max": 8.0}
        return {**limits, "ranges": np.where(np.arange(100) % 4, 2.0 + 0.1 * n, np.inf)}

    def twist(n: int) -> dict[str, Any]:
        return {"twist": {"linear": {"x": 0.1 * n}, "angular": {"z": np.sin(n)}}}

    def joints(n: int) -> dict[str, Any]:
        return {"name": ["a", "b", "c"], "position": [n, 1.0, -n], "velocity": [np.nan] * 3}

    def imu(n: int) -> dict[str, Any]:
        motion = {k: dict(zip("xyz", rng.normal(size=3), strict=True)) for k in ("u", "v")}
        turned = {"x": 0.01 * n, "w": 1.0}
        both = {"angular_velocity": motion["u"], "linear_acceleration": motion["v"]}
        return {**both, "orientation": turned}

    made = in_order(
        stream("/front/scan", "sensor_msgs/msg/LaserScan", 10, scan),
        stream("/cmd", "geometry_msgs/msg/TwistStamped", 25, twist),
        stream("/joint_states", "sensor_msgs/msg/JointState", 50, joints),
        stream("/imu/data", "sensor_msgs/msg/Imu", 98.7, imu),
        stream("/second/imu/data_raw", "sensor_msgs/msg/Imu", 30, imu),
        stream("/cmd_vel", "geometry_msgs/msg/Twist", 25, lambda n: twist(n)["twist"]),
        stream("/load", "std_msgs/msg/Float32MultiArray", 5, lambda n: {"data": [n, 2.0, -n]}),
    )
    found = of_bag(write_bag(tmp_path / "bag", made))
    robot = parse_robot(found.data)
    modalities = {m.name: m for m in robot.modalities}
    front = modalities["scan"]
    assert (front.kind, front.shape) == ("scan", (2, 64))
    assert (front.options.range_m, front.options.angles_rad) == ((0.1, 8.0), (-1.5, 1.5))
    assert found.about["scan"] == "100 beams at 10 Hz, 75.0% of them return within range_m"
    command = next(s for s in robot.sensors if s.name == "cmd")
    assert command.modality.fields == ("linear.x", "angular.z")
    assert command.settings == {"step_time_s": 0.04, "hold_last_s": 0.16}
    unstamped = next(s for s in robot.sensors if s.name == "cmd_vel")
    assert unstamped.modality.fields == command.modality.fields
    assert unstamped.settings == command.settings
    pace = command.modality.family.pace
    assert pace(command.modality, 25.0, command.settings) == ("", "")
    odd = "step_time_s is 0.04, a command comes every 0.01 s"
    assert pace(command.modality, 100.0, command.settings) == ("", odd)
    assert modalities["joint_states"].fields == ("position.a", "position.c")
    assert "/joint_states, joints that never move: b" in found.left_out
    assert modalities["imu"].options.rate_hz == 99.0
    assert modalities["imu"].shape == (6, 32)
    assert modalities["second_imu"].options.rate_hz == 30.0
    assert "/imu/data, orientation.y, orientation.z: never changes (0)" in found.left_out
    assert modalities["load"].fields == ("data[0]", "data[2]")
    assert "/load, data[1]: never changes (2)" in found.left_out
    assert robot.episodes.rate_hz == 20.0


def test_what_is_no_sensor_stands_as_a_comment_with_the_reason(tmp_path: Path) -> None:
    def image(n: int) -> dict[str, Any]:
        pixels = np.random.default_rng(n).integers(0, 255, 40 * 48 * 3, np.uint8)
        return {"height": 40, "width": 48, "encoding": "rgb8", "step": 144, "data": pixels}

    def cloud(n: int) -> dict[str, Any]:
        fields = [{"name": "z", "datatype": 7, "count": 1}]
        data = np.zeros(40, np.uint8)
        return {
            **{"height": 1, "width": 10, "point_step": 4, "row_step": 40},
            **{"fields": fields, "data": data},
        }

    made = in_order(
        stream("/cam/image_raw", "sensor_msgs/msg/Image", 10, image),
        stream("/cam/image_raw/small", "sensor_msgs/msg/Image", 10, image),
        stream("/cam/camera_info", "sensor_msgs/msg/CameraInfo", 10, lambda n: {"width": 48}),
        stream("/words", "std_msgs/msg/String", 10, lambda n: {"data": "hello"}),
        stream("/still", "geometry_msgs/msg/PoseStamped", 10, lambda n: {}),
        stream("/time", "sensor_msgs/msg/TimeReference", 10, lambda n: {"time_ref": {"sec": n}}),
        stream("/tf", "tf2_msgs/msg/TFMessage", 10, lambda n: {}),
        stream("/points", "sensor_msgs/msg/PointCloud2", 10, cloud),
        stream("/once", "sensor_msgs/msg/Image", 0.5, image),
        stream("/odd", "sensor_msgs/msg/Image", 10, lambda n: {**image(n), "encoding": "8UC3"}),
        stream("/float", "sensor_msgs/msg/Image", 10, lambda n: {**image(n), "encoding": "32FC3"}),
    )
    made += [m._replace(topic="/unset", stamp_ns=0) for m in made if m.topic == "/cam/image_raw"]
    bag = write_bag(tmp_path / "bag", sorted(made, key=lambda m: m.received_ns))
    found = of_bag(bag)
    assert list(found.data["sensors"]) == ["cam"]
    reasons = {line.partition(": ")[0]: line.partition(": ")[2] for line in found.left_out}
    left = ["/cam/camera_info", "/cam/image_raw/small", "/float", "/odd", "/once", "/points"]
    assert list(reasons) == [*left, "/still", "/tf", "/time", "/unset", "/words"]
    assert reasons["/unset"].endswith("20 of 20 messages refused: zero stamp")
    assert reasons["/cam/image_raw/small"] == "the same as /cam/image_raw in another form"
    assert "calibration" in reasons["/cam/camera_info"]
    assert reasons["/words"] == "std_msgs/msg/String: no number in it has a fixed place"
    assert "got a list of 10 points" in reasons["/points"]
    assert "never changes (0)" in reasons["/still"]
    assert "encoding" in reasons["/odd"]
    assert reasons["/float"].startswith("sensor_msgs/msg/Image: encoding: expected one of rgb8, ")
    assert reasons["/float"].endswith(", got '32FC3'"), "what there is was cut off"
    assert reasons["/once"] == "sensor_msgs/msg/Image: one message in the whole recording"
    for line in found.left_out:
        assert f"# - {line}\n" in found.text(bag)


def test_topics_that_are_left_out_alike_are_counted(tmp_path: Path) -> None:
    made = [
        stream(f"/cam{n:02d}/camera_info", "sensor_msgs/msg/CameraInfo", 2, lambda _: {"width": 48})
        for n in range(40)
    ]
    moving = stream("/pose", "geometry_msgs/msg/PointStamped", 10, lambda n: {"point": {"x": n}})
    found = of_bag(write_bag(tmp_path / "bag", in_order(*made, moving)))
    alike = ", ".join(f"/cam{n:02d}/camera_info" for n in range(5))
    assert found.left_out[0].startswith(f"{alike} and 35 more topics: sensor_msgs/msg/CameraInfo: ")
    assert not any("/cam05" in line for line in found.left_out)


@pytest.mark.parametrize("node", ["/smvae", ""])
def test_what_our_own_node_published_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    latent, load = "smvae_msgs/msg/LatentState", "std_msgs/msg/Float32"
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("float32[4] mean", latent))
    monkeypatch.setitem(recorded._STORES, "mcap", store)
    made = in_order(
        stream(f"{node}/latent", latent, 10, lambda n: {"mean": [n] * 4}),
        stream("/smvae/predicted/load", load, 10, lambda n: {"data": n}),
        stream("/load", load, 10, lambda n: {"data": n}),
    )
    found = of_bag(write_bag(tmp_path / "bag", made))
    assert f"{node}/latent: published by our own node" in found.left_out
    assert ("/smvae/predicted/load: published by our own node" in found.left_out) is bool(node)
    assert found.data["sensors"]["load"]["channel"]["topic"] == "/load"


def test_joints_whose_order_changes_are_the_same_joints(tmp_path: Path) -> None:
    names = np.array(["a", "b", "c", "d", "e", "f", "g"])
    rng = np.random.default_rng(0)

    def joints(n: int) -> dict[str, Any]:
        order = rng.permutation(7)
        position = np.array([n, -n, 2.0 * n, 0.5 * n, 1.0, n + 1.0, 7.0 * n])
        return {"name": list(names[order]), "position": list(position[order])}

    bag = write_bag(tmp_path / "bag", stream("/js", "sensor_msgs/msg/JointState", 50, joints))
    found = of_bag(bag)
    assert sorted(found.data["sensors"]["js"]["joints"]) == ["a", "b", "c", "d", "f", "g"]
    assert found.about["js"].startswith("6 of 7 joints at 50 Hz")
    assert "other joints" not in found.about["js"]
    assert found.left_out == ("/js, joints that never move: e",)


def test_publishers_of_joints_on_one_topic_are_sensors_each(tmp_path: Path) -> None:
    parts = {"left": ["l1", "l2"], "right": ["r1", "r2"], "grip": ["finger"], "still": ["base"]}

    def joints(names: list[str]) -> Iterator[Recorded]:
        moves = names != ["base"]
        return stream(
            "/js",
            "sensor_msgs/msg/JointState",
            50,
            lambda n: {"name": names, "position": [np.sin(n / 9) * moves] * len(names)},
        )

    bag = write_bag(tmp_path / "bag", in_order(*map(joints, parts.values())))
    found = of_bag(bag)
    assert {n: entry["joints"] for n, entry in found.data["sensors"].items()} == {
        **{"js": ["l1", "l2"], "js_2": ["r1", "r2"], "js_3": ["finger"]}
    }
    assert found.about["js_2"].startswith("2 of 2 joints at 50 Hz")
    assert found.left_out == ("/js: sensor_msgs/msg/JointState: no joint of it moves",)
    robot = parse_robot(found.data)
    with Bag(bag) as opened:
        fit = {fit.name: fit for fit in fits(robot, opened)}["js_3"]
    assert not fit.wrong
    assert fit.remark.endswith(" messages are of others: joints l1, l2")
    sensor = {"kind": "joint_state", "channel": {"topic": "/js"}, "joints": ["elbow"]}
    with Bag(bag) as opened:
        fit = fits(parse_robot({"robot": "r", "sensors": {"arm": sensor}}), opened)[0]
    assert fit.wrong.endswith(" messages are of others: joints l1, l2")
    counts = build_episodes([bag], robot, tmp_path / "out", progress=False)["recordings"]["bag"]
    assert all(c["used"] for c in counts["sensors"].values())


def test_a_robot_has_at_most_32_sensors_and_each_a_name_of_its_own(tmp_path: Path) -> None:
    topics = [f"/arm_{n // 2}/{'left' if n % 2 else 'right'}/load" for n in range(33)]
    streams = (stream(t, "std_msgs/msg/Float32", 10, lambda n: {"data": n}) for t in topics)
    found = of_bag(write_bag(tmp_path / "bag", in_order(*streams)))
    assert len(parse_robot(found.data).sensors) == 32
    assert {"arm_0_left_load", "arm_0_right_load"} <= set(found.data["sensors"])
    assert found.left_out == ("/arm_9/right/load: a robot has at most 32 sensors",)


def test_sensors_that_are_alike_get_names_that_are_alike(tmp_path: Path) -> None:
    def image(n: int) -> dict[str, Any]:
        pixels = np.random.default_rng(n).integers(0, 255, 40 * 48 * 3, np.uint8)
        return {"height": 40, "width": 48, "encoding": "rgb8", "step": 144, "data": pixels}

    def wrench(n: int) -> dict[str, Any]:
        return {"wrench": {"force": {"x": np.sin(n), "y": n, "z": -n}}}

    arms = [f"/{side}/ft/wrench" for side in ("left", "right")]
    cameras = ["/cam/image_raw", "/cam/image_rect", "/top/image_raw"]
    made = in_order(
        *(stream(topic, "geometry_msgs/msg/WrenchStamped", 100, wrench) for topic in arms),
        *(stream(topic, "sensor_msgs/msg/Image", 10, image) for topic in cameras),
        stream("/left/contact", "std_msgs/msg/Bool", 10, lambda n: {"data": n % 2 == 0}),
        stream("/contact", "std_msgs/msg/Float32", 10, lambda n: {"data": n}),
    )
    found = of_bag(write_bag(tmp_path / "bag", made))
    assert {n: entry["channel"]["topic"] for n, entry in found.data["sensors"].items()} == {
        **{"cam_image_raw": "/cam/image_raw", "cam_image_rect": "/cam/image_rect"},
        **{"left_ft_wrench": "/left/ft/wrench", "right_ft_wrench": "/right/ft/wrench"},
        **{"top": "/top/image_raw", "contact": "/contact"},
    }
    assert list(found.data["targets"]) == ["left_contact"]
    assert found.about["right_ft_wrench"].startswith("3 numbers at 100 Hz")


def test_names_that_nothing_tells_apart_are_numbered() -> None:
    names = {"/a_b": ["a_b"], "/a/b": ["b", "a_b"], "/b": ["b"], "/c": ["a_b_1"]}
    named = naming.distinct({topic: naming.Candidates(good) for topic, good in names.items()})
    assert named == {"/a_b": "a_b_2", "/a/b": "a_b_3", "/b": "b", "/c": "a_b_1"}


def test_long_topics_get_names_that_robot_yaml_takes(tmp_path: Path) -> None:
    spaces = "/".join(["a_name_space_of_a_fleet"] * 4)
    ends = ("load", "7" * 64)
    topics = [f"/{spaces}/arm_{n}/{'long_' * 20}{end}" for n in range(2) for end in ends]
    streams = (stream(t, "std_msgs/msg/Float32", 10, lambda n: {"data": n}) for t in topics)
    found = of_bag(write_bag(tmp_path / "bag", in_order(*streams)))
    sensors = parse_robot(found.data).sensors
    assert sorted(s.channel.topic for s in sensors) == sorted(topics)
    assert sum(s.name.endswith(("load_1", "load_2")) for s in sensors) == 2


@pytest.mark.parametrize("storage", STORAGES)
def test_a_topic_without_its_first_slash_is_that_with_it(tmp_path: Path, storage: str) -> None:
    made = [m._replace(topic=m.topic[1:]) for m in motion(1.5)]
    found, file = scaffold(bag := write_bag(tmp_path / "bag", made, storage)), tmp_path / "r.yaml"
    assert found.data["sensors"]["wrist"]["channel"]["topic"] == "/wrist/image"
    file.write_text(found.text(bag))
    robot = read_robot(file)
    with Bag(bag) as opened:
        assert not any(fit.wrong for fit in fits(robot, opened))
    counts = build_episodes([bag], robot, tmp_path / "out", progress=False)["recordings"]["bag"]
    assert {name: c["messages"] for name, c in counts["sensors"].items()} == {
        **{"wrist": 30, "depth": 30, "wrench": 750, "joints": 150, "pose": 150}
    }


def test_of_a_camera_whose_size_changes_the_middle_is_seen(tmp_path: Path) -> None:
    def image(n: int) -> dict[str, Any]:
        height, width = (40, 48) if n < 10 else (64, 32)
        pixels = np.random.default_rng(n).integers(0, 255, height * width * 3, np.uint8)
        said = {"height": height, "width": width, "step": 3 * width}
        return {**said, "encoding": "rgb8", "data": pixels}

    bag = write_bag(tmp_path / "bag", stream("/cam", "sensor_msgs/msg/Image", 10, image))
    found = of_bag(bag)
    assert "fit" not in found.data["sensors"]["cam"], "a crop in pixels of one size"
    assert found.about["cam"] == "48 x 40 at 10 Hz, but also 32 x 64; of each the middle"
    robot = parse_robot(found.data)
    counts = build_episodes([bag], robot, tmp_path / "out", progress=False)["recordings"]["bag"]
    assert not counts["sensors"]["cam"]["refused"]


def test_members_that_are_no_numbers_are_said_with_how_to_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = "my_msgs/msg/Hand"
    store = get_typestore(Stores.ROS2_JAZZY)
    definition = (
        "float32 gripWidth\nbool closed\nFinger[2] fingers\nfloat32[] taxels\nint16[99] map"
    )
    finger = f"{'=' * 80}\nMSG: my_msgs/Finger\nfloat32 force"
    store.register(get_types_from_msg(f"{definition}\n{finger}", hand))
    monkeypatch.setitem(recorded._STORES, "mcap", store)

    def held(n: int) -> dict[str, Any]:
        taxels = np.full(n % 2, n, np.float32)
        fingers = [store.types["my_msgs/msg/Finger"](force=float(n))] * 2
        told = {"gripWidth": 0.1 * n, "closed": n % 2 == 0, "fingers": fingers}
        return {**told, "taxels": taxels, "map": np.zeros(99, np.int16)}

    found = of_bag(write_bag(tmp_path / "bag", stream("/hand", hand, 10, held)))
    assert found.data["sensors"]["hand"]["select"] == ["gripWidth"]
    assert list(found.left_out) == [
        "/hand, closed: yes or no; a target, if wanted: select it, with binary: true",
        "/hand, fingers: a list of messages; say which numbers in select, such as name[0].x, if "
        "each has its place",
        "/hand, map: a row of more than 64 numbers; say which in select",
        "/hand, taxels[0]: not in all messages: a list whose length changes",
    ]


def test_what_was_missing_for_a_part_of_the_recording_is_said(tmp_path: Path) -> None:
    def load(n: int) -> dict[str, Any]:
        return {"data": n}

    def there(n: int) -> bool:
        return not 200 <= n < 400

    pauses = (m for n, m in enumerate(stream("/load", "std_msgs/msg/Float32", 20, load, 40.0)))
    late = [m for n, m in enumerate(pauses) if there(n)]
    whole = stream("/whole", "std_msgs/msg/Float32", 20, load, 40.0)
    slow = stream("/slow", "std_msgs/msg/Float32", 0.5, load, 40.0)
    bag = write_bag(tmp_path / "bag", in_order(iter(late), whole, slow))
    found = of_bag(bag)
    assert found.about["load"].endswith("; there for 75% of the recording, and not at 10, 15 s")
    assert "there for" not in found.about["whole"] + found.about["slow"]
    with Bag(bag) as recording:
        held = {fit.name: fit for fit in fits(parse_robot(found.data), recording)}
    assert held["load"].remark == "there for 75% of the recording, and not at 10, 15 s"
    assert not held["load"].wrong


@pytest.mark.parametrize("off_s", [-4, 4, 0.5])
def test_stamps_that_are_some_seconds_off_are_said_with_how_to_mend_it(
    tmp_path: Path, off_s: float
) -> None:
    """A driver's clock that is 4 s behind; others' that are, so that it seems ahead; a delay."""

    def load(n: int) -> dict[str, Any]:
        return {"point": {"x": n}}

    def off(each: Recorded) -> Recorded:
        return each._replace(stamp_ns=each.stamp_ns - round(abs(off_s) * 1e9))

    names = ["/arm", "/base", "/cam"]
    late = names[:1] if off_s < 1 else names[1:]
    made = (stream(name, "geometry_msgs/msg/PointStamped", 20, load, 6.0) for name in names)
    both = [off(m) if m.topic in late else m for m in in_order(*made)]
    bag = write_bag(tmp_path / "bag", both)
    found = of_bag(bag)
    with Bag(bag) as recording:
        remark = next(f.remark for f in fits(parse_robot(found.data), recording) if f.name == "arm")
    if abs(off_s) < 1:
        assert "stamps" not in found.about["arm"] + remark
        return
    side = "behind" if off_s < 0 else "ahead of"
    mended = f"moment holds both; if its clock is wrong, say stamp_offset_s: {off_s:.2f}"
    assert f"its stamps are 4.0 s {side} the stamps of /base, /cam: " in found.about["arm"]
    assert f"its stamps are 4.0 s {side} the stamps of base, cam: " in remark
    assert found.about["arm"].endswith(mended)
    assert remark.endswith(mended)
    assert "stamps" not in found.about["base"] + found.about["cam"]
    found.data["sensors"]["arm"]["stamp_offset_s"] = float(off_s)
    robot = parse_robot(found.data)
    counts = build_episodes([bag], robot, tmp_path / "out", progress=False)["recordings"]["bag"]
    assert all(c["used"] > 100 for c in counts["sensors"].values())


@pytest.mark.parametrize("stamped", [True, False])
def test_stamps_of_another_clock_are_said_and_left_out(tmp_path: Path, stamped: bool) -> None:
    def simulated(each: Recorded) -> Recorded:
        return each._replace(stamp_ns=each.stamp_ns - START_NS + 5_000 * MS)

    def joints(n: int) -> dict[str, Any]:
        return {"name": ["a"], "position": [np.sin(n)]}

    def twist(n: int) -> dict[str, Any]:
        moved = {"linear": {"x": np.sin(n)}}
        return {"twist": moved} if stamped else moved

    made = [simulated(m) for m in stream("/js", "sensor_msgs/msg/JointState", 50, joints, 4.0)]
    kind = "geometry_msgs/msg/TwistStamped" if stamped else "geometry_msgs/msg/Twist"
    command = stream("/cmd", kind, 10, twist, 4.0)
    others = stream(
        "/imu_pose", "geometry_msgs/msg/PointStamped", 30, lambda n: {"point": {"x": n}}
    )
    contact = stream("/contact", "std_msgs/msg/Bool", 10, lambda n: {"data": n % 2 == 0}, 4.0)
    bag = write_bag(
        tmp_path / "bag", in_order(iter(made), command, map(simulated, others), contact)
    )
    found = of_bag(bag)
    assert list(found.data["sensors"]) == ["imu_pose", "js"]
    assert not found.data["targets"]
    (why,) = [line for line in found.left_out if line.startswith("/cmd: ")]
    what = (
        "its stamps are of another clock, " if stamped else "its messages have no stamp and count"
    )
    assert what in why
    assert "ahead of the stamps of /imu_pose, /js, so no moment holds both" in why
    data = json.loads(json.dumps(found.data))
    data["sensors"]["cmd"] = {"kind": "command", "channel": {"topic": "/cmd", "type": kind}}
    data["targets"]["contact"] = {"channel": {"topic": "/contact"}, "select": ["data"]}
    robot = parse_robot(data)
    with Bag(bag) as recording:
        wrong = {fit.name: fit.wrong for fit in fits(robot, recording)}
    assert not wrong["js"]
    assert "of imu_pose, js, so no moment holds both" in wrong["cmd"]
    assert "have no stamp and count from when they were received" in wrong["contact"]
    (converted,) = build_episodes([bag], robot, tmp_path / "out", progress=False)[
        "recordings"
    ].values()
    assert any("s behind the reference time" in line for line in converted["faults"])
    data["sensors"].pop("cmd")
    (converted,) = build_episodes([bag], parse_robot(data), tmp_path / "two", progress=False)[
        "recordings"
    ].values()
    assert converted["targets"]["contact"]["used"] == 0
    steps = sum(episode["steps"] for episode in converted["episodes"])
    assert converted["faults"] == [
        f"target contact: in none of {steps} steps: nothing of it is "
        "stamped within 0.025 s of one; are its stamps of another clock?"
    ]


def test_images_are_depth_by_their_encoding_or_where_it_says_neither_by_their_topic(
    tmp_path: Path,
) -> None:
    def image(encoding: str, dtype: str, scale: float = 1.0):
        def made(n: int) -> dict[str, Any]:
            pixels = (scale * (1.0 + np.arange(40 * 48) / 1920)).astype(dtype)
            size = {"height": 40, "width": 48, "step": 48 * pixels.itemsize}
            return {**size, "encoding": encoding, "data": pixels.view(np.uint8)}

        return made

    def png(n: int) -> dict[str, Any]:
        pixels = np.full((40, 48), 1000 + n, np.uint16)
        return {"format": "16UC1; png compressed ", "data": cv2.imencode(".png", pixels)[1]}

    image_type = "sensor_msgs/msg/Image"
    made = in_order(
        stream("/a/image", image_type, 10, image("32FC1", "f4")),
        stream("/b/depth/image", image_type, 10, image("mono16", "u2", 1000.0)),
        stream("/c/infrared", image_type, 10, image("mono16", "u2", 1000.0)),
        stream("/d/image", "sensor_msgs/msg/CompressedImage", 10, png),
        stream("/e/image", image_type, 10, image("32FC1", "f4", 1000.0)),
    )
    found = of_bag(write_bag(tmp_path / "bag", made))
    kinds = {m.name: m.kind for m in parse_robot(found.data).modalities}
    assert kinds == {
        **{"a": "depth_image", "b_depth": "depth_image", "c_infrared": "color_image"},
        **{"d": "depth_image", "e": "depth_image"},
    }
    assert found.about["c_infrared"].endswith(
        "mono16 becomes 8 bits: divided by 257 and rounded, 65535 is white"
    )
    assert "say depth_scale" in found.about["e"]
    assert "say depth_scale" not in found.about["a"]


def test_a_bag_without_any_sensor_is_one_line(tmp_path: Path) -> None:
    words = stream("/words", "std_msgs/msg/String", 10, lambda n: {"data": "hello"})
    bag = write_bag(tmp_path / "bag", words)
    with pytest.raises(RobotError, match="nothing of it can be a sensor: /words: std_msgs"):
        of_bag(bag).text(bag)
    with pytest.raises(BagError, match="nothing"):
        scaffold(tmp_path / "nothing")


def test_a_bag_that_was_cut_is_declared_and_its_fault_said(tmp_path: Path) -> None:
    (file,) = write_bag(tmp_path / "bag", motion(1.0)).glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    found = scaffold(file.parent)
    assert {"wrist", "wrench"} <= set(found.data["sensors"])
    assert found.faults


def test_of_a_long_bag_a_few_messages_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = [START_NS + n * 20_000 * MS for n in range(8)]
    bag = write_bag(tmp_path / "bag", (m for n, b in enumerate(begins) for m in motion(0.5, b, n)))
    seen: list[int] = []
    with Bag(bag) as recording:
        decode = recording.decode
        monkeypatch.setattr(
            recording, "decode", lambda *message: (seen.append(0), decode(*message))[1]
        )
        found = scaffold_bag(recording)
    assert found.about["wrench"].startswith("6 numbers at 500 Hz")
    assert 300 < len(seen) < 8 * 32 * 6


def test_a_camera_slower_than_the_scaffolded_steps_is_not_said_to_hang(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 48, 64, 3), np.uint8)
    bag = write_bag(
        tmp_path / "run",
        in_order(
            stream("/camera/image", "sensor_msgs/msg/Image", 8.0, lambda n: images[n], 4.0),
            stream(
                "/joint_states",
                "sensor_msgs/msg/JointState",
                50.0,
                lambda n: np.sin(0.1 * n + np.arange(2)),
                4.0,
            ),
        ),
    )
    file, out = tmp_path / "robot.yaml", tmp_path / "out"
    file.write_text(scaffold(bag).text(bag))
    robot = read_robot(file)
    assert robot.episodes.rate_hz == 20.0
    build_episodes([bag], robot, out, progress=False)
    found = inspect_episodes(out)
    assert not [line for line in map(str, found.findings) if "hold exactly" in line]
    data = prepare_recordings(out, robot.modalities, progress=False)
    camera = data.arrays["camera"]
    assert np.mean([np.array_equal(a, b) for a, b in pairwise(camera)]) > 0.5
