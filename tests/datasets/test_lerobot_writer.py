"""What the writer of LeRobot v3 wrote is read back as it was given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")

from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality
from smvae_datasets.lerobot import LeRobotEpisode, LeRobotError, LeRobotFolder
from smvae_datasets.lerobot.folder import Feature
from smvae_datasets.lerobot.statistics import describe
from smvae_datasets.lerobot.writer import LeRobotWriter, image_feature
from tests.datasets import lerobot_folders as made

DEPTH, SMALL, FORCE, TOUCH = "observation.depth", "observation.images.small", "force", "touch"
FEATURES = (
    image_feature(made.CAMERA, made.HEIGHT, made.WIDTH),
    image_feature(SMALL, 31, 40),  # no video has an odd side
    Feature(name=DEPTH, dtype="image", shape=(48, 64, 1), is_depth=True),
    Feature(name=made.STATE, dtype="float32", shape=(3,), names=made.JOINTS),
    Feature(name=FORCE, dtype="float32", shape=(32, 6)),
    Feature(name=TOUCH, dtype="bool", shape=(1,)),
)


def row(episode: int, frame: int) -> dict[str, Any]:
    rng = np.random.default_rng([episode, frame])
    return {
        made.CAMERA: made.picture(episode, frame),
        SMALL: made.picture(episode, frame)[:31, :40],
        DEPTH: rng.integers(0, 3000, (48, 64), dtype=np.uint16),
        made.STATE: made.state(episode, frame),
        FORCE: rng.normal(size=(32, 6)).astype(np.float32),
        TOUCH: np.array([frame % 3 == 0]),
    }


def rows(episode: int, count: int) -> Iterator[dict[str, Any]]:
    return (row(episode, n) for n in range(count))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lerobot") / "set"
    with LeRobotWriter(path, FEATURES, fps=made.FPS, robot="toy_arm") as writer:
        assert [writer.add_episode(rows(n, c), "reach") for n, c in enumerate((15, 0, 10))] == [
            15,
            0,
            10,
        ]
    return path


def test_two_episodes_of_one_file_come_back_as_they_were(written: Path) -> None:
    folder = LeRobotFolder(written)
    assert (folder.version, folder.fps, folder.robot) == ("3.0", made.FPS, "toy_arm")
    assert {n: (f.dtype, f.shape, f.names, f.is_depth) for n, f in folder.features.items()} == {
        f.name: (f.dtype, f.shape, f.names, f.is_depth) for f in FEATURES
    }
    assert [e.length for e in folder.present] == [15, 10]
    for entry, original in zip(folder.present, (0, 2), strict=True):
        counts = dict.fromkeys(folder.features, 0)
        episode = LeRobotEpisode(folder, entry)
        for topic, received_ns, cell in episode.messages():
            message, number = episode.decode(topic, cell), counts[topic]
            assert received_ns == pytest.approx(1e9 + number / made.FPS * 1e9, abs=100)
            expected = row(original, number)[topic]
            if topic == made.CAMERA:
                pixels = message.data.reshape(expected.shape)
                assert np.abs(pixels.astype(int) - expected).mean() < 6
            elif topic in (SMALL, DEPTH):
                stored = cv2.imdecode(np.frombuffer(message.data, np.uint8), -1)
                assert np.array_equal(stored[:, :, ::-1] if topic == SMALL else stored, expected)
            else:
                assert np.array_equal(message.data, expected.reshape(-1))
            counts[topic] += 1
        assert set(counts.values()) == {entry.length}
        assert not episode.lost


def test_depth_of_a_table_is_read_in_metres(written: Path) -> None:
    folder = LeRobotFolder(written)
    episode = LeRobotEpisode(folder, folder.present[0])
    depth = Modality(name="d", kind="depth_image", shape=(1, 32, 32), unit="m")
    _, _, cell = next(iter(episode.messages([DEPTH])))
    converter = depth.converter(episode.topics[DEPTH].message_type)
    found = converter.to_array(depth, episode.decode(DEPTH, cell), ConversionOptions())
    assert found == pytest.approx(row(0, 0)[DEPTH] * 0.001)


def test_statistics_are_those_of_all_rows(written: Path) -> None:
    stats = json.loads((written / "meta/stats.json").read_text())
    every = np.stack([made.state(e, n) for e, c in ((0, 15), (2, 10)) for n in range(c)])
    for what in ("min", "max", "mean", "std"):
        expected = getattr(np, what)(every.astype(np.float64), axis=0)
        assert stats[made.STATE][what] == pytest.approx(expected.tolist())
    assert stats[made.STATE]["count"] == [25]
    assert np.shape(stats[made.CAMERA]["mean"]) == (3, 1, 1)
    assert 0 < np.mean(stats[made.CAMERA]["mean"]) < 1


def test_statistics_leave_out_what_was_not_measured() -> None:
    found = describe(np.array([[1.0, np.nan], [3.0, np.nan]]))
    assert found["mean"].tolist() == [2.0, 0.0]
    assert describe(np.array([[1.0], [np.nan], [3.0]]))["max"].tolist() == [3.0]


def test_nothing_is_overwritten_and_an_error_leaves_nothing(written: Path, tmp_path: Path) -> None:
    with pytest.raises(LeRobotError, match="already there"):
        LeRobotWriter(written, FEATURES, fps=20)
    with pytest.raises(LeRobotError, match="no feature can be called 'index'"):
        LeRobotWriter(tmp_path / "x", [Feature(name="index", dtype="int64", shape=(1,))], fps=20)
    wrong = {**row(0, 0), made.STATE: np.zeros(2, np.float32)}
    with (
        pytest.raises(LeRobotError, match=r"'observation.state': expected shape \(3,\), got \(2,"),
        LeRobotWriter(tmp_path / "set", FEATURES, fps=20) as writer,
    ):
        writer.add_episode(iter([row(0, 0), wrong]), "reach")
    assert not list(tmp_path.iterdir())


def test_files_roll_over_and_all_episodes_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smvae_datasets.lerobot.writer._DATA_MB", 0)
    monkeypatch.setattr("smvae_datasets.lerobot.writer._VIDEO_MB", 0)
    with LeRobotWriter(tmp_path / "set", FEATURES[:1] + FEATURES[3:4], fps=12.5) as writer:
        for episode in range(3):
            writer.add_episode(rows(episode, 4), "reach")
    folder = LeRobotFolder(tmp_path / "set")
    assert folder.fps == 12.5
    assert [e.data.name for e in folder.present] == [f"file-00{n}.parquet" for n in range(3)]
    for entry in folder.present:
        episode = LeRobotEpisode(folder, entry)
        assert len(list(episode.messages())) == 8
        assert entry.videos[made.CAMERA][0].name == entry.data.name.replace("parquet", "mp4")
