"""What is wrong with a bag or an option is said in one line, at the command line; settings."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from live_bag import typestore
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer
from small_bag import SmallBag

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime
from smvae_training.cli import main
from smvae_training.evaluate.bag.options import BagOptions
from smvae_training.evaluate.bag.parameter_files import read_parameters
from smvae_training.evaluate.bag.settings import node_settings

EVERY = ("rgb", "depth", "force", "action")
SHIPPED = Path(__file__).parents[2] / "ros2_ws/src/smvae_ros/config/perception.yaml"
MODALITIES = vision_touch(32)


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command, which must refuse, and return its one line."""
    assert main(["evaluate-bag", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("smvae evaluate-bag: error: ")
    return lines[0]


def no_bag(folder: Path, runtime: Runtime) -> Path:
    return folder / "nowhere"


def a_folder(folder: Path, runtime: Runtime) -> Path:
    return folder


def a_ros1_bag(folder: Path, runtime: Runtime) -> Path:
    path = folder / "old.bag"
    path.write_bytes(b"#ROSBAG V2.0\n")
    return path


def another_file(folder: Path, runtime: Runtime) -> Path:
    path = folder / "notes.txt"
    path.write_text("x")
    return path


def recorded(folder: Path, runtime: Runtime, names: tuple[str, ...] = EVERY) -> Path:
    return SmallBag(folder / "bag", runtime).play((names, 8))


def cut_short(folder: Path, runtime: Runtime) -> Path:
    """As a recorder leaves it that was killed: no metadata, no end."""
    path = recorded(folder, runtime)
    (file,) = path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-2000])
    (path / "metadata.yaml").unlink()
    return path


def truncated(folder: Path, runtime: Runtime) -> Path:
    path = recorded(folder, runtime)
    (file,) = path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return path


def damaged(folder: Path, runtime: Runtime) -> Path:
    """Zeros where compressed messages begin; index and metadata are whole."""
    maker = SmallBag(folder / "bag", runtime)
    maker.writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    path = maker.play((EVERY, 8))
    (file,) = path.glob("*.mcap")
    data = bytearray(file.read_bytes())
    start = data.index(b"\x28\xb5\x2f\xfd")  # of what zstd wrote
    data[start : start + 40] = bytes(40)
    file.write_bytes(data)
    return path


def truncated_sqlite(folder: Path, runtime: Runtime) -> Path:
    path = SmallBag(folder / "bag", runtime, "sqlite3").play((EVERY, 8))
    (file,) = path.glob("*.db3")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return path


def empty(folder: Path, runtime: Runtime) -> Path:
    with Writer(folder / "bag", version=9) as writer:
        writer.add_connection("/rgb/image", "sensor_msgs/msg/Image", typestore=typestore())
    return folder / "bag"


def a_ros1_folder(folder: Path, runtime: Runtime) -> Path:
    """Only its name is that of a ROS 1 bag."""
    path = folder / "X.bag"
    path.mkdir()
    return path


def foreign_hash(folder: Path, runtime: Runtime) -> Path:
    """Definitions that are not those that the recorder's hash was made of."""
    path = recorded(folder, runtime)
    metadata = path / "metadata.yaml"
    text = metadata.read_text(encoding="utf-8")
    metadata.write_text(re.sub(r"RIHS01_\w+", "RIHS01_" + "0" * 64, text), encoding="utf-8")
    return path


def foreign_bytes(folder: Path, runtime: Runtime) -> Path:
    """No definitions in the bag, and images that no assumed one fits."""
    path = SmallBag(folder / "bag", runtime, "sqlite3").play((EVERY, 8))
    (file,) = path.glob("*.db3")
    with sqlite3.connect(file) as base:
        base.execute("DELETE FROM message_definitions")
        base.execute(
            "UPDATE messages SET data = X'0001000001' WHERE topic_id IN "
            "(SELECT id FROM topics WHERE name = '/rgb/image')"
        )
    base.close()
    return path


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (no_bag, "nowhere: no such file or folder"),
        (a_folder, "no metadata.yaml in it: expected the folder of a rosbag2 bag"),
        (a_ros1_bag, "it holds no messages at all; its topics: none"),
        (another_file, "expected a bag's folder, or a .mcap, .db3 or .bag file"),
        (cut_short, "no metadata.yaml beside bag.mcap; give that file itself, or"),
        (truncated, "cannot be opened: File end magic is invalid; was the recording cut short?"),
        (damaged, "cannot be read after"),
        (truncated_sqlite, "was the recording cut short?"),
        (empty, "it holds no messages at all; its topics:"),
        (a_ros1_folder, "no metadata.yaml in it: expected the folder of a rosbag2 bag"),
        (foreign_hash, "hash mismatch"),
        (foreign_bytes, "and ros2_jazzy was assumed: name the distribution that recorded it"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bag_that_cannot_be_used_is_one_line(
    make: Callable[[Path, Runtime], Path],
    expected: str,
    tmp_path: Path,
    runtime: Runtime,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bag = make(tmp_path, runtime)
    assert expected in said(capsys, bag, "--bundle", bundle, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("--topics", "rgb=/a"),
            "nothing on /a, it has /action (geometry_msgs/msg/TwistStamped, 8)",
        ),
        (("--topics", "rgb"), "expected NAME=TOPIC such as 'rgb=/camera/image', got 'rgb'"),
        (("--topics", "rbg=/a"), "unknown modality 'rbg'"),
        (("--topics", "rgb=/wrench"), "/wrench holds geometry_msgs/msg/WrenchStamped, rgb"),
        (("--topics", "rgb=/depth/image"), "rgb and depth cannot both be read from /depth/image"),
        (("--drop", "rgb,depht"), "Did you mean 'depth'?"),
        (("--drop", "rgb,depth,force,action"), "nothing is left to see"),
        (("--drop", "rgb", "--trigger", "rgb"), "trigger must be one of any, timer, depth"),
        (("--max-rate-hz", "0"), "max_rate_hz must be positive"),
        (("--typestore", "ros2_jazy"), "Did you mean 'ros2_jazzy'?"),
        (("--params-file", "/nowhere.yaml"), "parameter file /nowhere.yaml cannot be read"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line(
    arguments: tuple[str, ...],
    expected: str,
    tmp_path: Path,
    runtime: Runtime,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bag = recorded(tmp_path, runtime)
    out = tmp_path / "out"
    assert expected in said(capsys, bag, "--bundle", bundle, "--out", out, *arguments)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="subsets must be all or none, got 'some'"):
        BagOptions(subsets="some")
    with pytest.raises(ConfigError, match="moments must be at least 1, got 0"):
        BagOptions(moments=0)


def test_topics_in_a_namespace_are_named_in_full(
    tmp_path: Path,
    runtime: Runtime,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """None of the defaults is there: the line lists what was expected and what there is."""

    class Elsewhere(SmallBag):
        def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
            super().write(f"/left{topic}", type_name, message, received_ns)

    bag = Elsewhere(tmp_path / "bag", runtime).play((EVERY, 8))
    line = said(capsys, bag, "--bundle", bundle, "--out", tmp_path / "out")
    assert "none of the topics rgb=/rgb/image, depth=/depth/image" in line
    assert "/left/rgb/image (sensor_msgs/msg/Image, 8)" in line
    topics = [f"{n}=/left{t}" for n, t in node_settings(MODALITIES).topics.items()]
    options = ["--bundle", bundle, "--out", tmp_path / "out", "--no-video", "--topics", *topics]
    assert main(["evaluate-bag", *map(str, [bag, *options])]) == 0
    assert "latents" in capsys.readouterr().out


def test_the_shipped_parameters_are_the_defaults() -> None:
    assert node_settings(MODALITIES, read_parameters(SHIPPED)[1]) == node_settings(MODALITIES)


def test_a_parameter_file_changes_rules_topics_and_options(tmp_path: Path) -> None:
    file = tmp_path / "perception.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    trigger: rgb\n    max_rate_hz: 12.5\n    modalities:\n"
        "      rgb:\n        topic: camera/color\n        max_skew_s: 0.25\n"
        "      depth: {depth_scale: 0.001, frame_id: optical}\n      action: {hold_last_s: 2.0}\n"
        "smvae:\n  ros__parameters:\n    trigger: depth\n"
    )
    settings = node_settings(MODALITIES, read_parameters(file)[1], drop=["force"], max_rate_hz=9.0)
    assert (settings.pace.trigger, settings.pace.max_rate_hz) == ("depth", 9.0)
    assert settings.topics["rgb"] == "/camera/color"
    assert settings.rules["rgb"].max_skew_s == 0.25
    assert settings.rules["depth"].max_skew_s is None
    assert settings.rules["action"].hold_last_s == 2.0
    assert settings.sources["depth"].options.depth_scale == 0.001
    frames = {name: source.frame_id for name, source in settings.sources.items()}
    assert frames == {"rgb": "", "depth": "optical", "force": "", "action": ""}
    assert settings.dropped == ("force",)


def block(name: str, **values: object) -> str:
    """Return the entry of a node with parameters, nested as deep as the name says."""
    lines, depth = [], 0
    for depth, part in enumerate(name.split(">")):
        lines.append(f"{'  ' * depth}{json.dumps(part)}:")
    lines.append(f"{'  ' * (depth + 1)}ros__parameters:")
    lines += [f"{'  ' * (depth + 2)}{key}: {value}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("blocks", "asked", "node", "expected"),
    [
        (block("left>smvae", max_rate_hz=15.0), "", "/left/smvae", {"max_rate_hz": 15.0}),
        (block("smvae", a=1) + block("usb_cam", a=5, b=6), "", "/smvae", {"a": 1}),
        (block("/left/smvae", a=1) + block("/right/smvae", a=2), "right/smvae", "/right/smvae",
         {"a": 2}),
        (block("/**", a=1, b=1) + block("smvae", a=2), "", "/smvae", {"a": 2, "b": 1}),
        (block("smvae", a=2) + block("/**", a=1), "", "/smvae", {"a": 1}),
        (block("/*/smvae", a=3) + block("perception", a=4), "/perception", "/perception", {"a": 4}),
    ],
)  # fmt: skip
def test_a_parameter_file_is_read_by_the_rules_of_ros(
    tmp_path: Path, blocks: str, asked: str, node: str, expected: dict[str, object]
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(blocks)
    assert read_parameters(file, asked) == (node, expected)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        (block("/left/smvae", a=1) + block("/right/smvae", a=2),
         "is for /left/smvae and /right/smvae: say which, e.g. --node /left/smvae"),
        (block("perception", a=1) + block("/left/*", a=1),
         "holds nothing for node /smvae, only for /perception, /left/*; name the node by --node"),
    ],
)  # fmt: skip
def test_a_parameter_file_that_leaves_open_who_is_meant_is_asked_back(
    tmp_path: Path, blocks: str, expected: str
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(blocks)
    with pytest.raises(ConfigError, match=re.escape(expected)):
        read_parameters(file)


def test_of_two_robots_in_one_bag_the_one_that_is_named_is_evaluated(
    tmp_path: Path, runtime: Runtime, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Left(SmallBag):
        def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
            super().write(f"/left{topic}", type_name, message, received_ns)

    bag = Left(tmp_path / "bag", runtime).play((EVERY, 8))
    file = tmp_path / "fleet.yaml"
    file.write_text(block("/left/smvae", max_rate_hz=9.0) + block("/right/smvae", a=2))
    given = [
        bag,
        "--bundle",
        bundle,
        "--out",
        tmp_path / "out",
        "--no-video",
        "--params-file",
        file,
    ]
    assert "say which" in said(capsys, *given)
    assert main(["evaluate-bag", *map(str, given), "--node", "/left/smvae"]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["settings"]["topics"]["rgb"] == "/left/rgb/image"
    assert summary["settings"]["max_rate_hz"] == 9.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "cannot be read"),
        ("ros__parameters: {a: 1}", "'ros__parameters' has no ros__parameters"),
        ("a: 1", "'a' has no ros__parameters"),
        ("", "holds no parameters"),
    ],
)
def test_what_is_no_parameter_file_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read_parameters(file)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("max_rate_hz", "fast", r"max_rate_hz must be a float .*: got 'fast'"),
        ("modalities.rgb.enabled", 1, "enabled must be a bool: got 1"),
        ("modalities.rgb.max_skew_s", -1.0, "max_skew_s must be positive"),
    ],
)
def test_a_parameter_of_another_type_or_range_is_refused(
    name: str, value: object, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        node_settings(MODALITIES, {name: value})
    with pytest.raises(UnknownModality):
        node_settings(MODALITIES, drop=["camera"])


def test_a_bag_whose_samples_are_all_bad_says_so(
    tmp_path: Path,
    runtime: Runtime,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Ahead(SmallBag):
        """Stamps ten seconds ahead of the receive times."""

        def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
            super().write(topic, type_name, message, received_ns - 10 * 10**9)

    bag = Ahead(tmp_path / "bag", runtime).play((EVERY, 8))
    line = said(capsys, bag, "--bundle", bundle, "--out", tmp_path / "out")
    assert "not one latent came of it: rgb: 0 received, 8 rejected (8 x future stamp)" in line
