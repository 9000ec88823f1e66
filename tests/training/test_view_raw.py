"""`smvae view` of recordings and episodes without a model, and of a declared robot's with one."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags")
pytest.importorskip("mcap")

from smvae_core.fusion.rules import FusionState
from smvae_core.robot import Channel, Robot, Sensor, read_robot
from smvae_core.runtime import Runtime
from smvae_core.view.glance import Glance
from smvae_core.view.scene import Scene
from smvae_datasets.recordings.build import build_episodes
from smvae_training.cli import main
from smvae_training.view.options import ViewOptions
from smvae_training.view.records import PAUSE_NS
from smvae_training.view.source import Opened, open_source, what
from tests.datasets.recorded import MS, ROBOT, START_NS, Recorded, motion, write_bag

FROZEN = Path(__file__).parents[1] / "frozen" / "bundle"
#: Messages of a second, by sensor or target.
SECOND = {"wrist": 20, "depth": 20, "force": 500, "joints": 100, "hole": 100, "touching": 100}


def declaration(folder: Path) -> Path:
    path = folder / "robot.yaml"
    path.write_text(ROBOT)
    return path


def glances_of(source: Opened) -> list[Glance]:
    found: list[Glance] = []
    source.play(found.append)
    return found


def counted(glances: Iterable[Glance]) -> Counter[str]:
    return Counter(name for g in glances for name in (*g.recorded, *g.targets))


def two_parts() -> list[Recorded]:
    """Return two seconds with a pause between."""
    return [*motion(1.0), *motion(1.0, START_NS + 4_000 * MS, seed=1)]


@pytest.mark.parametrize("storage", ["mcap", "ros1"])
def test_a_recording_is_seen_without_a_model(storage: str, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", two_parts(), storage)
    source = open_source(bag, ViewOptions(robot=declaration(tmp_path)), tmp_path)
    seen = glances_of(source)
    assert counted(seen) == {name: 2 * count for name, count in SECOND.items()}
    assert source.targets["hole"].unit == "m"
    images = [g for g in seen if "wrist" in g.recorded]
    assert images[0].recorded["wrist"].shape == (40, 48, 3)
    stamps = [m.stamp_ns for m in two_parts() if m.topic == "/wrist/image"]
    assert [g.stamp_ns for g in images] == stamps
    assert {g.chapter for g in seen} == {"episode 0", "episode 1"}
    states = [g.sensors["wrist"].state for g in seen if g.sensors]
    assert FusionState.FUSED in states
    assert not any(g.predicted or g.latent for g in seen)


def test_a_recording_without_a_moment_says_what_was_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "bag", [m._replace(stamp_ns=0) for m in motion(0.2)])
    words = ["--robot", str(declaration(tmp_path)), "--picture", str(tmp_path / "bag.png")]
    assert main(["view", str(bag), *words]) == 2
    said = capsys.readouterr().err
    assert "there is not one moment to see: wrist: /wrist/image, 4 messages: 0 used" in said
    assert "refused: 4 x zero stamp" in said


def test_what_is_found_is_seen_whole_without_a_declaration(tmp_path: Path) -> None:
    source = open_source(write_bag(tmp_path / "bag", motion(1.0)), ViewOptions(), tmp_path)
    names = {m.name: m for m in source.modalities}
    assert {"wrist", "depth", "wrench", "joints", "pose"} <= set(names)
    (shape, *_) = {g.recorded["wrist"].shape for g in glances_of(source) if "wrist" in g.recorded}
    assert shape == (40, 48, 3)  # not the square that a network would get


def test_a_folder_of_episodes_shows_what_its_recording_does(tmp_path: Path) -> None:
    declared = declaration(tmp_path)
    bag = write_bag(tmp_path / "bag", two_parts())
    of_bag = glances_of(open_source(bag, ViewOptions(robot=declared), tmp_path))
    folder = tmp_path / "episodes"
    build_episodes([bag], read_robot(declared), folder, progress=False)
    assert what(folder) == "recorded"
    source = open_source(folder, ViewOptions(), tmp_path)
    of_folder = glances_of(source)
    assert counted(of_folder) == counted(of_bag)
    for name in ("wrist", "depth", "force"):
        first, second = (
            [(g.stamp_ns, g.recorded[name]) for g in of if name in g.recorded]
            for of in (of_bag, of_folder)
        )
        for (stamp, value), (again, same) in zip(first, second, strict=True):
            assert stamp == again
            np.testing.assert_allclose(value, same, atol=1e-3)
    assert next(g.chapter for g in of_folder if g.sensors) == "bag/0000"
    few = glances_of(open_source(folder, ViewOptions(max_records=3), tmp_path))
    assert {g.chapter for g in few} == {"bag/0000"}


def test_a_lerobot_folder_is_seen_episode_by_episode(tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("pyarrow")
    from tests.datasets import lerobot_folders as made

    folder = made.write_v21(tmp_path / "set", (12, 9))
    assert what(folder) == "lerobot"
    seen = glances_of(open_source(folder, ViewOptions(), tmp_path))
    assert counted(seen)["wrist"] == counted(seen)["joints"] == 21
    stamps = [g.stamp_ns for g in seen if "joints" in g.recorded]
    assert (np.diff(stamps) > 0).all()
    assert np.diff(stamps).max() >= PAUSE_NS  # both begin at 0


def declared(bundle: Path, channels: dict[str, Channel]) -> Path:
    """Write the frozen bundle once more, of a robot whose other sensors are nowhere."""
    sensors = tuple(
        Sensor(modality=m, channel=channels.get(m.name, Channel(topic=f"/no/{m.name}")))
        for m in Runtime(FROZEN).modalities
    )
    shutil.copytree(FROZEN, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["training"]["robot"] = Robot(name="arm", sensors=sensors).to_json()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


@pytest.mark.parametrize("said", ["declaration", "--topics"])
def test_a_lerobot_folder_is_seen_through_a_bundle(said: str, tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("pyarrow")
    from tests.datasets import lerobot_folders as made

    folder = made.write_v21(tmp_path / "set", (12, 9))
    column = made.CAMERA if said == "declaration" else "not.there"
    bundle = declared(tmp_path / "bundle", {"rgb": Channel(feature=column)})
    topics = () if said == "declaration" else (f"rgb={made.CAMERA}",)
    options = ViewOptions(bundle=bundle, topics=topics)
    seen = glances_of(open_source(folder, options, tmp_path))
    assert Counter(g.chapter for g in seen) == {"episode_000000": 12, "episode_000001": 9}
    assert counted(seen) == {"rgb": 21}
    assert all(g.predicted.keys() == {m.name for m in Runtime(FROZEN).modalities} for g in seen)
    stamps = np.diff([g.stamp_ns for g in seen])
    assert (stamps > 0).all()
    assert stamps[11] >= PAUSE_NS
    few = replace(options, max_records=3)
    assert {g.chapter for g in glances_of(open_source(folder, few, tmp_path))} == {"episode_000000"}


def test_a_bundle_that_reads_nothing_of_a_lerobot_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    pytest.importorskip("pyarrow")
    from tests.datasets import lerobot_folders as made

    folder = made.write_v21(tmp_path / "set", (12,))
    arguments = ["view", str(folder), "--bundle", str(FROZEN), "--picture", "x.png"]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "none of the topics rgb=/rgb/image" in err
    assert f"it has {made.STATE} (sensor_msgs/msg/JointState, 12)" in err


def test_a_declared_robots_topics_are_those_of_its_bundle(tmp_path: Path) -> None:
    """A bag of ROS 1, whose topics are none of the node's defaults."""
    topics = {"rgb": "/wrist/image", "depth": "/depth/image"}
    bundle = declared(tmp_path / "bundle", {n: Channel(topic=t) for n, t in topics.items()})
    bag = write_bag(tmp_path / "bag", motion(1.0), "ros1")
    seen = glances_of(open_source(bag, ViewOptions(bundle=bundle), tmp_path))
    assert counted(seen) == {"rgb": 20, "depth": 20}
    assert all(g.predicted.keys() == {m.name for m in Runtime(FROZEN).modalities} for g in seen)


def test_the_picture_and_the_views_leave_room_for_no_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, out = write_bag(tmp_path / "bag", motion(1.0)), tmp_path / "bag.png"
    assert main(["view", str(bag), "--picture", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert cv2.imread(str(out)).std() > 20
    source = open_source(bag, ViewOptions(), tmp_path)
    scene = Scene("x", source.modalities, targets=source.targets, has_model=source.has_model)
    views = {p for row in scene.opening()[0]["rows"] for view in row for p in view["paths"]}
    assert {"wrist/recorded", "state", "age"} <= views
    assert not views & {"wrist/predicted", "latent", "novelty", "knowledge"}
    assert main(["view", str(bag), "--bundle", "b", "--robot", "r", "--picture", "x.png"]) == 2
    assert "--robot is for what is seen without a model" in capsys.readouterr().err
