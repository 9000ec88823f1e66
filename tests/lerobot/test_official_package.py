"""Folders are exchanged with the official package, both ways; `make test-lerobot` runs this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lerobot", reason="`make test-lerobot` has an environment for it")
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from smvae_datasets.lerobot import LeRobotEpisode, LeRobotFolder
from smvae_datasets.lerobot.folder import Feature
from smvae_datasets.lerobot.writer import LeRobotWriter, image_feature
from tests.datasets import lerobot_folders as made

SO101 = "shared/data/so101/local_dataset_ros2/data/lerobot_dataset_example"
REAL = Path(__file__).parents[2].parent / SO101
LENGTHS, TASKS = (30, 17, 22), ("reach", "grasp", "reach")
DEPTH, FORCE, TOUCH, PRESENT = "observation.depth", "force", "touch", "present"
FEATURES = (
    image_feature(made.CAMERA, made.HEIGHT, made.WIDTH),
    Feature(name=DEPTH, dtype="image", shape=(48, 64, 1), is_depth=True),
    Feature(name=made.STATE, dtype="float32", shape=(3,), names=made.JOINTS),
    Feature(name=FORCE, dtype="float32", shape=(32, 6)),
    Feature(name=TOUCH, dtype="bool", shape=(1,)),
    Feature(name=PRESENT, dtype="bool", shape=(2,), names=("camera", "force")),
)


def row(episode: int, frame: int) -> dict[str, Any]:
    rng = np.random.default_rng([episode, frame])
    return {
        made.CAMERA: made.picture(episode, frame),
        DEPTH: rng.integers(0, 3000, (48, 64), dtype=np.uint16),
        made.STATE: made.state(episode, frame),
        FORCE: rng.normal(size=(32, 6)).astype(np.float32),
        TOUCH: np.array([frame % 3 == 0]),
        PRESENT: np.array([True, frame % 5 > 0]),
    }


def opened(path: Path) -> LeRobotDataset:
    return LeRobotDataset(f"local/{path.name}", root=path, video_backend="pyav")


def levels(image: Any) -> np.ndarray[Any, Any]:
    """Return an image of the official package (3, H, W) in [0, 1] as (H, W, 3) levels."""
    return np.rint(np.asarray(image) * 255.0).transpose(1, 2, 0)


def test_the_official_package_reads_what_we_wrote(tmp_path: Path, results: dict[str, Any]) -> None:
    with LeRobotWriter(tmp_path / "ours", FEATURES, fps=made.FPS, robot="toy_arm") as writer:
        for episode, (length, task) in enumerate(zip(LENGTHS, TASKS, strict=True)):
            writer.add_episode((row(episode, n) for n in range(length)), task)
    data = opened(tmp_path / "ours")
    assert (len(data), data.num_episodes, data.fps) == (sum(LENGTHS), len(LENGTHS), made.FPS)
    numbers, pictures, depths = 0.0, [], 0.0
    places = [(e, n) for e, length in enumerate(LENGTHS) for n in range(length)]
    for index, (episode, frame) in enumerate(places):
        item, expected = data[index], row(episode, frame)
        assert item["task"] == TASKS[episode]
        assert float(item["timestamp"]) == pytest.approx(frame / made.FPS)
        for name in (made.STATE, FORCE, TOUCH, PRESENT):
            got = np.asarray(item[name]).reshape(expected[name].shape).astype(float)
            numbers = max(numbers, float(np.abs(got - expected[name]).max()))
        pictures.append(float(np.abs(levels(item[made.CAMERA]) - expected[made.CAMERA]).mean()))
        depth_mm = np.asarray(item[DEPTH])[0]
        depths = max(depths, float(np.abs(depth_mm - expected[DEPTH]).max()))
    results["ours_read_by_lerobot"] = {
        "episodes": data.num_episodes,
        "rows": len(data),
        "numbers_max_error": numbers,
        "depth_max_error_mm": depths,
        "video_mean_error_levels": max(pictures),
    }
    assert numbers == 0.0
    assert depths == 0.0
    assert max(pictures) < 6  # AV1 at the official quality
    assert set(data.meta.stats) >= {f.name for f in FEATURES}


def test_we_read_what_the_official_package_wrote(tmp_path: Path, results: dict[str, Any]) -> None:
    features = {
        made.CAMERA: {
            "dtype": "video",
            "shape": (made.HEIGHT, made.WIDTH, 3),
            "names": ["height", "width", "channels"],
        },
        made.STATE: {"dtype": "float32", "shape": (3,), "names": list(made.JOINTS)},
    }
    data = LeRobotDataset.create(
        "local/theirs", fps=made.FPS, features=features, root=tmp_path / "theirs"
    )
    for episode, (length, task) in enumerate(zip(LENGTHS, TASKS, strict=True)):
        for frame in range(length):
            pair = made.picture(episode, frame), made.state(episode, frame)
            data.add_frame({made.CAMERA: pair[0], made.STATE: pair[1], "task": task})
        data.save_episode()
    data.finalize()
    folder = LeRobotFolder(tmp_path / "theirs")
    assert [e.length for e in folder.present] == list(LENGTHS)
    assert [e.tasks for e in folder.present] == [(task,) for task in TASKS]
    rows, worst = 0, 0.0
    for entry in folder.present:
        episode, frame = LeRobotEpisode(folder, entry), -1
        for topic, _, cell in episode.messages():
            message = episode.decode(topic, cell)
            if topic == made.STATE:
                assert list(message.position) == made.state(entry.index, frame).tolist()
                continue
            frame, rows = frame + 1, rows + 1
            expected = made.picture(entry.index, frame)
            error = np.abs(message.data.reshape(expected.shape).astype(int) - expected)
            worst = max(worst, float(error.mean()))
        assert not episode.lost
    results["theirs_read_by_us"] = {"rows": rows, "video_mean_error_levels": worst}
    assert rows == sum(LENGTHS)
    assert worst < 6


def test_a_real_folder_is_read_alike(results: dict[str, Any]) -> None:
    if not REAL.exists():
        pytest.skip(f"no real recordings in {REAL.parents[4]}")
    data, folder = opened(REAL), LeRobotFolder(REAL)
    camera, rows, worst = "observation.images.wrist", 0, 0.0
    first = 0
    for entry in folder.present[:2]:
        episode = LeRobotEpisode(folder, entry)
        for topic, received_ns, cell in episode.messages([camera, "action"]):
            number, part = divmod(round((received_ns * 1e-9 - 1.0) * folder.fps), 40)
            if part:
                continue
            item, message = data[first + 40 * number], episode.decode(topic, cell)
            if topic == "action":
                assert list(message.data) == item["action"].tolist()
                continue
            picture = levels(item[camera])
            error = np.abs(message.data.reshape(picture.shape).astype(int) - picture)
            worst, rows = max(worst, float(error.mean())), rows + 1
        first += entry.length
    results["so101_read_alike"] = {"rows": rows, "video_mean_difference_levels": worst}
    assert worst < 1
