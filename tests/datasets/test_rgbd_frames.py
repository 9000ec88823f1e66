"""Real frames of a depth camera with its poses, half of them beyond 2 m, as messages of a robot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags")
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from smvae_core.robot import read_robot
from smvae_datasets.recordings.prepared import prepare_recordings
from smvae_training.cli import main
from smvae_training.presets import debug
from smvae_training.run import load_run
from smvae_training.trainer import train
from tests.datasets.recorded import MS, START_NS
from tests.datasets.ros_messages import filled

FRAMES = Path(__file__).parents[2].parent / "shared/data/rgbd"
#: They have no stamps; every sixth is taken.
PERIOD_NS, EVERY = 100 * MS, 6
PICTURE, POSE = "sensor_msgs/msg/CompressedImage", "geometry_msgs/msg/PoseStamped"


def poses() -> list[Any]:
    return [np.loadtxt(path) for path in sorted(FRAMES.glob("*.pose.txt"))[::EVERY]]


def record(path: Path) -> Path:
    """Write colour and depth as the files are, and where the camera was."""
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = {
            topic: writer.add_connection(topic, kind, typestore=store)
            for topic, kind in (("/color", PICTURE), ("/depth", PICTURE), ("/camera_pose", POSE))
        }
        for row, pose in enumerate(poses()):
            stamp_ns = START_NS + row * PERIOD_NS
            sec, nanosec = divmod(stamp_ns, 10**9)
            header = {"stamp": {"sec": sec, "nanosec": nanosec}}
            name = FRAMES / f"frame-{row * EVERY:06d}"
            color = np.fromfile(f"{name}.color.jpg", np.uint8)
            depth = np.fromfile(f"{name}.depth.png", np.uint8)
            position = dict(zip("xyz", pose[:3, 3].tolist(), strict=True))
            said = {
                "/color": {"format": "jpeg", "data": color},
                "/depth": {"format": "16UC1; png compressed", "data": depth},
                "/camera_pose": {"pose": {"position": position, "orientation": {"w": 1.0}}},
            }
            for topic, values in said.items():
                message = filled(store, to[topic].msgtype, {"header": header, **values})
                data = store.serialize_cdr(message, to[topic].msgtype)
                writer.write(to[topic], stamp_ns + 5 * MS, data)
    return path


@pytest.mark.skipif(not FRAMES.exists(), reason=f"no real frames in {FRAMES}")
def test_frames_with_poses_beyond_two_metres_go_from_scaffold_to_training(tmp_path: Path) -> None:
    bag, file, out, run = (tmp_path / n for n in ("bag", "robot.yaml", "episodes", "run"))
    record(bag)
    assert main(["robot", "scaffold", str(bag), "-o", str(file)]) == 0
    robot = read_robot(file)
    kinds = {m.name: m.kind for m in robot.modalities}
    assert kinds == {"color": "color_image", "depth": "depth_image", "camera_pose": "vector"}
    text = file.read_text()
    file.write_text(text.replace("episodes:", "episodes:\n  max_s: 0.8\n  min_s: 0.5"))
    assert main(["robot", "validate", str(file), str(bag)]) == 0
    assert main(["episodes", str(bag), "--robot", str(file), "--out", str(out)]) == 0

    robot = read_robot(file)
    data = prepare_recordings(out, robot.modalities, progress=False)
    assert data.recorded.all()
    depth_m = next(m for m in robot.modalities if m.name == "depth").options.range_m
    assert 2.5 < depth_m[1] < 4.0  # the farthest returns are at 3.6 m
    assert (np.asarray(data.arrays["depth"]) > 2.0).mean() > 0.1
    first = cv2.imread(str(FRAMES / "frame-000000.depth.png"), cv2.IMREAD_UNCHANGED)
    assert (first > 2000).any()
    found = np.asarray(data.arrays["camera_pose"])[:, None, :3]
    apart_m = np.abs(found - [pose[:3, 3] for pose in poses()]).max(axis=2)
    assert (apart_m.min(axis=1) < 1e-5).all()

    small = debug()
    model = replace(small.model, modalities=robot.modalities)
    config = replace(small, model=model, data=replace(small.data, held_out=0.34), max_steps=2)
    assert load_run(train(config, out, run)).record.step == 2
