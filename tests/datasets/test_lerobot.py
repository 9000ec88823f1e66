"""LeRobot folders give messages as a robot's topics would; what they lack is said, not fatal."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")

from smvae_core.errors import MissingDependency
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality
from smvae_core.robot.reading import parse_robot
from smvae_datasets.lerobot import LeRobotEpisode, LeRobotError, LeRobotFolder, is_lerobot
from smvae_datasets.lerobot.scaffold import scaffold_lerobot
from smvae_datasets.recordings.fitting import fits
from tests.datasets import lerobot_folders as made

DATA = Path(__file__).parents[2].parent / "shared/data"
OPTIONS = ConversionOptions()
ROBOTS = {
    "g1": (DATA / "g1", 100, 32, 26, (480, 640, 3), "observation.images.cam_high"),
    "so101": (
        DATA / "so101/local_dataset_ros2/data/lerobot_dataset_example",
        6,
        6,
        6,
        (360, 640, 3),
        "observation.images.wrist",
    ),
}


def joints(names: tuple[str, ...]) -> Modality:
    return Modality(
        name="joints",
        kind="joint_state",
        shape=(len(names),),
        unit="rad",
        options={"joints": names},
    )


def camera() -> Modality:
    return Modality(name="camera", kind="color_image", shape=(3, 64, 64), unit="1")


def read(episode: LeRobotEpisode) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {name: [] for name in episode.topics}
    for topic, received_ns, cell in episode.messages():
        found[topic].append((received_ns, episode.decode(topic, cell)))
    return found


@pytest.mark.parametrize("robot", sorted(ROBOTS))
def test_a_real_robots_folder_is_read(robot: str) -> None:
    path, named, there, numbers, shape, video = ROBOTS[robot]
    if not path.exists():
        pytest.skip(f"no real recordings in {DATA}")
    folder = LeRobotFolder(path)
    assert (len(folder.entries), len(folder.present)) == (named, there)
    assert bool(folder.notes) == (named > there)
    episode = LeRobotEpisode(folder, folder.present[1])
    every = iter(episode.messages())
    first = [next(every) for _ in range(30)]
    assert [topic for topic, _, _ in first[:3]] == list(episode.topics)
    pictures = [episode.decode(t, cell) for t, _, cell in first if t == video]
    sample = camera().converter().to_array(camera(), pictures[5], OPTIONS)
    assert sample.shape == shape
    assert 20 < sample.mean() < 235
    names = folder.features["observation.state"].names
    assert len(names) == numbers
    message = episode.decode("observation.state", first[0][2])
    picked = joints(names[2::-1])
    assert picked.converter().to_array(picked, message, OPTIONS).tolist() == pytest.approx(
        list(message.position[2::-1])
    )
    every.close()


def test_each_row_gives_a_message_of_each_column_at_the_rows_time(tmp_path: Path) -> None:
    folder = LeRobotFolder(made.write_v21(tmp_path / "set"))
    assert (folder.version, folder.fps, folder.robot) == ("2.1", made.FPS, "toy_arm")
    with LeRobotEpisode(folder, folder.present[1]) as episode:
        found = read(episode)
        assert {n: t.message_type for n, t in episode.topics.items()} == {
            made.STATE: "sensor_msgs/msg/JointState",
            made.ACTION: "std_msgs/msg/Float32MultiArray",
            made.CAMERA: "sensor_msgs/msg/Image",
        }
        assert not episode.lost
    assert {name: len(messages) for name, messages in found.items()} == dict.fromkeys(found, 9)
    for name, messages in found.items():
        for number, (received_ns, message) in enumerate(messages):
            assert received_ns == pytest.approx(1e9 + number / made.FPS * 1e9, abs=100)
            assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == received_ns
            if name == made.CAMERA:
                pixels = camera().converter().to_array(camera(), message, OPTIONS)
                error = np.abs(pixels.astype(int) - made.picture(1, number))
                assert error.mean() < 3  # 16 levels differ between neighbours at least
            else:
                assert list(message.data) == made.state(1, number).tolist()


def test_names_of_a_column_find_joints_and_fields_of_a_vector(tmp_path: Path) -> None:
    folder = LeRobotFolder(made.write_v21(tmp_path / "set", (3,)))
    episode = LeRobotEpisode(folder, folder.present[0])
    message = read(episode)[made.STATE][2][1]
    swapped = joints(("wrist", "shoulder"))
    expected = made.state(0, 2)[[2, 0]].tolist()
    assert swapped.converter().to_array(swapped, message, OPTIONS).tolist() == expected
    for fields in (("wrist", "shoulder"), ("data[2]", "data[0]")):
        vector = Modality(name="v", kind="vector", shape=(2,), unit="1", fields=fields)
        converter = vector.converter("std_msgs/msg/Float32MultiArray")
        assert converter.to_array(vector, message, OPTIONS).tolist() == expected


def test_missing_episodes_and_videos_are_said_and_the_rest_is_read(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (4, 5, 6, 7))
    for number in (0, 2):
        (path / f"data/chunk-000/episode_{number:06d}.parquet").unlink()
    (path / f"videos/chunk-000/{made.CAMERA}/episode_000003.mp4").unlink()
    folder = LeRobotFolder(path)
    assert folder.notes == (
        "2 of 4 episodes that meta names are not in the folder: 0, 2",
        f"{made.CAMERA}: no video of episodes 3",
    )
    assert [e.index for e in folder.present] == [1, 3]
    episode = LeRobotEpisode(folder, folder.present[1])
    assert {n: len(m) for n, m in read(episode).items()} == {made.STATE: 7, made.ACTION: 7}


@pytest.mark.parametrize("keep", [0, 200, 1500])
def test_rows_without_a_frame_are_counted(keep: int, tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (12,))
    video = path / f"videos/chunk-000/{made.CAMERA}/episode_000000.mp4"
    video.write_bytes(video.read_bytes()[:keep])
    folder = LeRobotFolder(path)
    said: list[str] = []
    episode = LeRobotEpisode(folder, folder.present[0], said.append)
    found = read(episode)
    assert len(found[made.STATE]) == 12
    assert len(found[made.CAMERA]) + episode.lost[made.CAMERA] == 12
    assert episode.lost[made.CAMERA] > 0
    assert len(said) == 1
    assert f"{made.CAMERA}: {episode.lost[made.CAMERA]} of 12 rows have no frame: " in said[0]


def test_rows_with_an_empty_cell_or_without_their_file_are_counted_and_said(tmp_path: Path) -> None:
    import pyarrow as pa

    path = made.write_v21(tmp_path / "set", (6,))
    pairs = [None if n % 3 == 0 else [n, 1.0] for n in range(6)]
    made.add_column(path, "list", pa.array(pairs, pa.list_(pa.float32())), [2])
    made.add_column(path, "fixed", pa.array(pairs, pa.list_(pa.float32(), 2)), [2])
    files = pa.array([{"bytes": None, "path": f"images/{n}.png"} for n in range(6)])
    made.add_column(path, "picture", files, [made.HEIGHT, made.WIDTH, 3], "image")
    (path / "images").mkdir()
    cv2.imwrite(str(path / "images/0.png"), made.picture(0, 0))
    said: list[str] = []
    folder = LeRobotFolder(path)
    with LeRobotEpisode(folder, folder.present[0], said.append) as episode:
        for _ in range(2):  # a second pass counts anew
            said.clear()
            found = list(episode.messages(["list", "fixed", "picture"]))
        decoded = [episode.decode(topic, data).data for topic, _, data in found]
    assert {name: sum(t == name for t, _, _ in found) for name in folder.features} == {
        **{made.STATE: 0, made.ACTION: 0, made.CAMERA: 0},
        **{"list": 4, "fixed": 4, "picture": 1},
    }
    assert [list(each) for each in decoded if len(each) == 2][-1] == [5.0, 1.0]
    assert said == [
        "list: 2 of 6 rows are empty",
        "fixed: 2 of 6 rows are empty",
        "picture: 5 of 6 rows name files that are not there, such as images/5.png",
    ]


def test_a_column_that_is_not_there_is_said_by_its_name(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (6,))
    robot = parse_robot(scaffold_lerobot(LeRobotFolder(path)).data)
    shutil.rmtree(path / "videos")
    folder = LeRobotFolder(path)
    with LeRobotEpisode(folder, folder.present[0]) as episode:
        wrong = {fit.name: fit.wrong for fit in fits(robot, episode)}
    assert wrong["wrist"].startswith(f"nothing on {made.CAMERA}; ")


def test_a_table_of_another_length_is_said_and_text_is_no_topic(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (6,))
    lines = (path / "meta/episodes.jsonl").read_text()
    (path / "meta/episodes.jsonl").write_text(lines.replace('"length": 6', '"length": 9'))
    info = json.loads((path / "meta/info.json").read_text())
    words = {"language": {"dtype": "string", "shape": [1], "names": None}}
    damage_info(path, features=info["features"] | words)
    folder, said = LeRobotFolder(path), list[str]()
    episode = LeRobotEpisode(folder, folder.present[0], said.append)
    assert sorted(read(episode)) == sorted((made.STATE, made.ACTION, made.CAMERA))
    assert said[0] == "episode_000000 has 6 rows, meta says 9"


def edit_table(path: Path, episode: int, **columns: Any) -> None:
    """Put other columns into an episode's table; None takes one away."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path / f"data/chunk-000/episode_{episode:06d}.parquet"
    table = {n: c for n, c in zip(*_columns(pq.read_table(file)), strict=True) if n not in columns}
    table |= {name: values for name, values in columns.items() if values is not None}
    pq.write_table(pa.table(table), file)


def _columns(table: Any) -> tuple[list[str], list[Any]]:
    return table.column_names, table.columns


#: Times of six rows as recorders leave them, and what is said of them.
TIMES = {
    "a clock of the host": (1.76e9 + np.arange(6) / 20, "timestamp begins at 1760000000.000000 s"),
    "going on from the episode before": (3.0 + np.arange(6) / 20, "timestamp begins at 3.000000 s"),
    "a clock of the host in 32 bits": (np.full(6, 1.76e9, np.float32), "timestamp does not rise"),
    "going back": (np.array([0.0, 0.05, 0.1, 0.0, 0.05, 0.1]), "timestamp does not rise"),
    "no numbers": (np.array([0.0, np.nan, 0.1, 0.15, 0.2, 0.25]), "timestamp does not rise"),
}


@pytest.mark.parametrize("times", TIMES)
def test_times_of_another_clock_are_brought_to_the_episodes(times: str, tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (6,))
    seconds, what = TIMES[times]
    edit_table(path, 0, timestamp=seconds)
    folder, said = LeRobotFolder(path), list[str]()
    found = read(LeRobotEpisode(folder, folder.present[0], said.append))
    stamps = [1_000_000_000 + 50_000_000 * n for n in range(6)]
    for name in (made.STATE, made.CAMERA):
        assert [round(stamp, -3) for stamp, _ in found[name]] == stamps
    assert len(said) == 1
    assert said[0].startswith(f"episode_000000: {what}")


def test_an_episode_that_begins_late_by_its_own_count_keeps_its_times(tmp_path: Path) -> None:
    """Rows were cut off at the begin, and the video still has their frames."""
    path = made.write_v21(tmp_path / "set", (6,))
    later = np.arange(4, 10)
    edit_table(path, 0, timestamp=later / 20, frame_index=later)
    folder, said = LeRobotFolder(path), list[str]()
    found = read(LeRobotEpisode(folder, folder.present[0], said.append))
    assert [stamp for stamp, _ in found[made.STATE]] == [
        1_000_000_000 + 50_000_000 * n for n in later
    ]
    assert said == [f"{made.CAMERA}: 4 of 6 rows have no frame"]


def test_rows_in_another_table_than_meta_names_are_found_and_said(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (4, 5))
    one, other = (path / f"data/chunk-000/episode_{n:06d}.parquet" for n in (0, 1))
    one.rename(one.with_suffix(".tmp"))
    other.rename(one)
    one.with_suffix(".tmp").rename(other)
    folder, said = LeRobotFolder(path), list[str]()
    for number, length in enumerate((4, 5)):
        found = read(LeRobotEpisode(folder, folder.present[number], said.append))
        np.testing.assert_allclose(found[made.STATE][-1][1].data, made.state(number, length - 1))
    assert said == [
        f"episode_{n:06d} is in data/chunk-000/episode_{1 - n:06d}.parquet, meta says "
        f"data/chunk-000/episode_{n:06d}.parquet"
        for n in (0, 1)
    ]


def test_rows_of_an_episode_that_has_none_by_meta_are_counted(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (6,))
    lines = (path / "meta/episodes.jsonl").read_text()
    (path / "meta/episodes.jsonl").write_text(lines.replace('"length": 6', '"length": 0'))
    folder, said = LeRobotFolder(path), list[str]()
    episode = LeRobotEpisode(folder, folder.present[0], said.append)
    assert {topic.messages for topic in episode.topics.values()} == {6}
    assert len(read(episode)[made.STATE]) == 6
    assert said == ["episode_000000 has 6 rows, meta says 0"]


def test_a_feature_of_another_size_than_meta_says_is_said(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (3,))
    info = json.loads((path / "meta/info.json").read_text())
    info["features"][made.STATE]["shape"] = [4]
    damage_info(path, features=info["features"])
    folder, said = LeRobotFolder(path), list[str]()
    read(LeRobotEpisode(folder, folder.present[0], said.append))
    assert said == [f"{made.STATE} has 3 numbers, meta says 4"]


def test_a_table_without_times_or_not_fetched_is_named(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (3, 3))
    edit_table(path, 0, timestamp=None)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (path / "data/chunk-000/episode_000001.parquet").write_text(pointer)
    folder = LeRobotFolder(path)
    for number, why in (
        (0, "there is no column timestamp"),
        (1, "it is a pointer of Git LFS: `git lfs"),
    ):
        with pytest.raises(LeRobotError, match=f"episode_00000{number}: {why}"):
            read(LeRobotEpisode(folder, folder.present[number]))


def damage_info(path: Path, **values: Any) -> None:
    info = json.loads((path / "meta/info.json").read_text())
    (path / "meta/info.json").write_text(json.dumps(info | values))


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (3,))
    assert is_lerobot(path)
    with pytest.raises(LeRobotError, match=r"no such folder"):
        LeRobotFolder(tmp_path / "nothing")
    with pytest.raises(LeRobotError, match=r"no meta/info.json in it; did you mean .*/set\?"):
        LeRobotFolder(tmp_path)
    damage_info(path, codebase_version="v1.6")
    with pytest.raises(LeRobotError, match=r"version is v1.6, v2.0, v2.1 and v3.0 are read"):
        LeRobotFolder(path)
    damage_info(path, codebase_version="v2.1", fps=0)
    with pytest.raises(LeRobotError, match=r"fps must be positive, got 0"):
        LeRobotFolder(path)
    damage_info(path, fps=20)
    (path / "meta/episodes.jsonl").write_text('{"episode_index": 0')
    with pytest.raises(LeRobotError, match=r"list of episodes .*line 1 of episodes.jsonl"):
        _ = LeRobotFolder(path).entries
    (path / "meta/info.json").write_text("{")
    with pytest.raises(LeRobotError, match=r"meta/info.json is not what it must be"):
        LeRobotFolder(path)


def test_a_damaged_table_names_file_and_episode(tmp_path: Path) -> None:
    path = made.write_v21(tmp_path / "set", (3,))
    folder = LeRobotFolder(path)
    file = path / "data/chunk-000/episode_000000.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(LeRobotError, match=r"chunk-000/episode_000000.parquet, episode_000000: "):
        read(LeRobotEpisode(folder, folder.present[0]))


@pytest.mark.parametrize("package", ["av", "pyarrow"])
def test_a_missing_package_is_one_line(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made.write_v21(tmp_path / "set", (3,))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=rf"{package} .*pip install 'smvae\[lerobot\]'"):
        LeRobotFolder(path)
