"""A recording becomes episodes: what is kept, what a step holds, what is counted."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smvae_core.bag_formats.types import DEFAULT_TYPESTORE
from smvae_core.bags import Bag
from smvae_core.errors import ConfigError
from smvae_core.fusion.engine import Engine, Taken
from smvae_core.fusion.playback import Playback
from smvae_core.modality import Modality
from smvae_core.robot import Robot, read_robot
from smvae_datasets.dataset import DataSetError
from smvae_datasets.recordings.build import Told, _attempt, build_episodes, foresee, plan
from smvae_datasets.recordings.coding import decode, encode
from smvae_datasets.recordings.declared import Declared
from smvae_datasets.recordings.episode_files import EpisodeFiles
from smvae_datasets.recordings.folder import list_episodes
from smvae_datasets.recordings.prepared import prepare_recordings
from smvae_datasets.recordings.steps import play_steps
from smvae_training.foreground import INTERRUPTED
from tests.datasets.recorded import (
    LATENCY_NS,
    MS,
    ROBOT,
    START_NS,
    STORAGES,
    Recorded,
    motion,
    write_bag,
)

GAP_NS = 4_000 * MS


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    path = tmp_path / "robot.yaml"
    path.write_text(ROBOT)
    return read_robot(path)


def two_parts() -> list[Recorded]:
    """Two episodes with a gap between them."""
    return [*motion(1.2), *motion(1.0, START_NS + GAP_NS, seed=1)]


def convert(bag: Path, robot: Robot, out: Path) -> dict[str, Any]:
    return build_episodes([bag], robot, out, progress=False)


def resized(robot: Robot, **options: Any) -> Robot:
    """Return the robot with another camera."""
    camera = robot.sensors[0].modality
    modality = replace(camera, shape=(3, 64, 64), options=replace(camera.options, **options))
    first = replace(robot.sensors[0], modality=modality)
    return replace(robot, sensors=(first, *robot.sensors[1:]))


@pytest.mark.parametrize("storage", STORAGES)
def test_every_message_is_counted_and_every_sample_kept(
    tmp_path: Path, robot: Robot, storage: str
) -> None:
    summary = convert(write_bag(tmp_path / "bag", two_parts(), storage), robot, tmp_path / "out")
    (found,) = summary["recordings"].values()
    assert not found["faults"]
    for counts in (*found["sensors"].values(), *found["targets"].values()):
        assert counts["used"] + counts["unused"] == counts["messages"] > 0
    first, second = list_episodes(tmp_path / "out")
    assert [first.name, second.name] == ["bag/0000", "bag/0001"]
    with EpisodeFiles(first.files) as files:
        stamps = files.array("sensors/force/stamp_ns")
        arrivals = files.array("sensors/force/arrival_ns")
        np.testing.assert_array_equal(stamps, START_NS + 2 * MS * np.arange(600))
        np.testing.assert_array_equal(arrivals - stamps, LATENCY_NS)
        images = [m.value for m in two_parts() if m.topic == "/wrist/image"]
        np.testing.assert_array_equal(files.image("wrist", 3), images[3])
        depths = [m.value for m in two_parts() if m.topic == "/depth/image"]
        expected = depths[5].astype(np.float32) * np.float32(0.001)
        np.testing.assert_array_equal(files.image("depth", 5), expected)


@pytest.mark.parametrize(
    ("split_on", "max_s", "episodes"), [("gap", 0.5, 4), ("gap", 0.0, 1), ("file", 0.5, 1)]
)
def test_one_long_recording_is_cut_into_several_episodes(
    tmp_path: Path, robot: Robot, split_on: Any, max_s: float, episodes: int
) -> None:
    rules = replace(robot.episodes, split_on=split_on, max_s=max_s)
    bag = write_bag(tmp_path / "bag", motion(2.0))
    summary = convert(bag, replace(robot, episodes=rules), tmp_path / "out")
    assert len(list_episodes(tmp_path / "out")) == episodes
    (found,) = summary["recordings"].values()
    for counts in found["sensors"].values():
        assert counts["used"] + counts["unused"] == counts["messages"] > 0


@pytest.mark.parametrize("max_s", [0.0, 0.5, 0.413, 0.437])
def test_the_steps_that_are_reported_are_those_that_training_reads(
    tmp_path: Path, robot: Robot, max_s: float
) -> None:
    """A window that began before its episode is in no step of it; other rates count anew."""
    two = tuple(s for s in robot.sensors if s.name in ("wrist", "force"))
    cut = replace(robot, sensors=two, episodes=replace(robot.episodes, max_s=max_s))
    bag, out = write_bag(tmp_path / "bag", motion(2.0)), tmp_path / "out"
    for each in (cut, replace(cut, episodes=replace(cut.episodes, rate_hz=7.0))):
        summary = convert(bag, each, out)
        data = prepare_recordings(out, each.modalities, progress=False)
        assert summary["steps"] == len(data)
        (found,) = summary["recordings"].values()
        assert sum(e["steps"] for e in found["episodes"]) == len(data)
    assert json.loads((out / "summary.json").read_text())["steps"] == len(data)


def test_a_step_holds_what_the_engine_takes_at_that_moment(tmp_path: Path, robot: Robot) -> None:
    """Against a plain pass of the engine over the messages themselves."""
    bag = write_bag(tmp_path / "bag", motion(2.0))
    convert(bag, robot, tmp_path / "out")
    settings = Declared.of(robot).settings
    engine = Engine(robot.modalities, settings.rules, settings.pace, settings.sources)
    taken: list[Taken] = []
    playback = Playback(engine, START_NS + LATENCY_NS, taken.append)
    topics = {s.channel.topic: s.name for s in robot.sensors}
    with Bag(bag) as messages:
        for topic, received_ns, data in messages.messages(list(topics)):
            playback.receive(topics[topic], received_ns, messages.decode(topic, data))
        playback.finish()
    expected = [{n: t.observation.status[n].stamp_ns for n in t.observation.samples} for t in taken]
    (episode,) = list_episodes(tmp_path / "out")
    with EpisodeFiles(episode.files) as files:
        stamps = {m.name: files.array(f"sensors/{m.name}/stamp_ns") for m in robot.modalities}
        rows = files.array("steps/sample")
    found = [
        {m.name: stamps[m.name][n] for m, n in zip(robot.modalities, row, strict=True) if n >= 0}
        for row in rows
    ]
    assert found == expected
    assert len(found) > 38


def test_rate_and_size_change_without_converting_again(tmp_path: Path, robot: Robot) -> None:
    bag, out = write_bag(tmp_path / "bag", two_parts()), tmp_path / "out"
    convert(bag, robot, out)
    before = {p: p.stat().st_mtime_ns for p in out.glob("bag/*")}
    data = prepare_recordings(out, robot.modalities, progress=False)
    other = replace(resized(robot), episodes=replace(robot.episodes, rate_hz=10.0))
    convert(bag, other, out)
    assert {p: p.stat().st_mtime_ns for p in out.glob("bag/*")} == before
    slower = prepare_recordings(out, other.modalities, progress=False)
    assert slower.arrays["wrist"].shape[1:] == (3, 64, 64)
    assert len(slower) == pytest.approx(len(data) / 2, abs=4)
    convert(bag, resized(robot, crop=(0, 4, 40, 44)), out)
    assert {p: p.stat().st_mtime_ns for p in out.glob("bag/*")} != before


def test_steps_played_again_equal_those_that_were_recorded(tmp_path: Path, robot: Robot) -> None:
    convert(write_bag(tmp_path / "bag", motion(2.0)), robot, tmp_path / "out")
    (episode,) = list_episodes(tmp_path / "out")
    with EpisodeFiles(episode.files) as files:
        reference_ns, samples = play_steps(files, Declared.of(robot))
        np.testing.assert_array_equal(reference_ns, files.array("steps/reference_ns"))
        np.testing.assert_array_equal(samples, files.array("steps/sample"))


def test_steps_follow_a_sensor_where_the_rules_say_so(tmp_path: Path, robot: Robot) -> None:
    bag, out = write_bag(tmp_path / "bag", motion(2.0)), tmp_path / "out"
    convert(bag, robot, out)
    before = {p: p.stat().st_mtime_ns for p in out.glob("bag/*")}
    by_camera = replace(robot, episodes=replace(robot.episodes, trigger="wrist"))
    convert(bag, by_camera, out)
    assert {p: p.stat().st_mtime_ns for p in out.glob("bag/*")} == before
    data = prepare_recordings(out, robot.modalities, progress=False)
    np.testing.assert_array_equal(data.stamp_ns, 50 * MS * np.arange(40))


def test_prepared_records_are_what_the_sensors_said(tmp_path: Path, robot: Robot) -> None:
    convert(write_bag(tmp_path / "bag", two_parts()), robot, tmp_path / "out")
    data = prepare_recordings(tmp_path / "out", robot.modalities, progress=False)
    assert data.group_names == ("bag/0000", "bag/0001")
    assert data.recorded[:, :2].all()
    row = 10
    at_ns = START_NS + int(data.stamp_ns[row])
    wrench = np.array([m.value for m in motion(1.2) if m.topic == "/wrench"], np.float32)
    last = (at_ns - START_NS) // (2 * MS)
    np.testing.assert_allclose(data.arrays["force"][row][:, -1], wrench[last], rtol=1e-6)
    np.testing.assert_allclose(data.arrays["force"][row][:, -3], wrench[last - 1], rtol=1e-5)
    hole, touching = data.targets["hole"], data.targets["touching"]
    assert hole.fields == ("pose.position.x", "pose.position.y", "pose.position.z")
    assert hole.known.all()
    assert touching.binary
    nearest = next(
        m.value for m in motion(1.2) if m.topic == "/pose" and m.stamp_ns >= at_ns - 5 * MS
    )
    np.testing.assert_allclose(hole.values[row], nearest[:3], rtol=1e-6)


def test_a_target_that_was_not_recorded_is_nan(tmp_path: Path, robot: Robot) -> None:
    messages = [m for m in motion(1.2) if m.topic != "/pose"]
    summary = convert(write_bag(tmp_path / "bag", messages), robot, tmp_path / "out")
    assert summary["recordings"]["bag"]["faults"] == ["target hole: nothing on /pose"]
    data = prepare_recordings(tmp_path / "out", robot.modalities, progress=False)
    assert np.isnan(data.targets["hole"].values).all()


def test_what_a_recording_has_instead_is_said_once(tmp_path: Path, robot: Robot) -> None:
    messages = [m for m in motion(1.2) if m.topic not in ("/wrench", "/depth/image")]
    lacking = {m.topic for m in motion(1.2)} - {m.topic for m in messages}
    assert len(lacking) == 2
    faults = convert(write_bag(tmp_path / "bag", messages), robot, tmp_path / "out")["recordings"][
        "bag"
    ]["faults"]
    absent = [fault for fault in faults if "nothing on" in fault]
    assert len(absent) == 2
    assert ["; it has " in fault for fault in absent] == [True, False]


def test_a_sensor_may_be_left_out_and_an_unknown_one_is_named(tmp_path: Path, robot: Robot) -> None:
    convert(write_bag(tmp_path / "bag", motion(1.2)), robot, tmp_path / "out")
    wrist, *_, joints = robot.modalities
    data = prepare_recordings(tmp_path / "out", (joints, wrist), progress=False)
    assert list(data.arrays) == ["joints", "wrist"]
    lidar = Modality(name="wrist", kind="joint_state", shape=(2,), unit="rad")
    with pytest.raises(ConfigError, match="the episodes hold color_image"):
        prepare_recordings(tmp_path / "out", (lidar,), progress=False)


def test_images_are_kept_as_cropped(tmp_path: Path, robot: Robot) -> None:
    cropped = resized(robot, crop=(2, 4, 40, 44))
    convert(write_bag(tmp_path / "bag", motion(1.2)), cropped, tmp_path / "out")
    (episode,) = list_episodes(tmp_path / "out")
    image = next(m.value for m in motion(1.2) if m.topic == "/wrist/image")
    with EpisodeFiles(episode.files) as files:
        np.testing.assert_array_equal(files.image("wrist", 0), image[2:40, 4:44])
    data = prepare_recordings(tmp_path / "out", cropped.modalities, progress=False)
    wrist = cropped.modalities[0]
    np.testing.assert_array_equal(data.arrays["wrist"][0], wrist.family.prepare(wrist, image))


def test_short_episodes_are_left_out_and_counted(tmp_path: Path, robot: Robot) -> None:
    messages = [*motion(0.2), *motion(1.0, START_NS + GAP_NS)]
    summary = convert(write_bag(tmp_path / "bag", messages), robot, tmp_path / "out")
    assert summary["episodes"] == 1
    assert summary["recordings"]["bag"]["sensors"]["force"]["short"] == 100
    assert len(list((tmp_path / "out" / "bag").glob("*.h5"))) == 1


def test_a_file_is_one_episode_where_the_rules_say_so(tmp_path: Path, robot: Robot) -> None:
    whole = replace(robot, episodes=replace(robot.episodes, split_on="file"))
    assert (
        convert(write_bag(tmp_path / "bag", two_parts()), whole, tmp_path / "out")["episodes"] == 1
    )


def test_several_recordings_resume_and_one_that_fails_spoils_no_other(
    tmp_path: Path, robot: Robot
) -> None:
    bags = [write_bag(tmp_path / n / "bag", motion(1.0, seed=k)) for k, n in enumerate("ab")]
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"nothing of the kind")
    out = tmp_path / "out"
    summary = build_episodes([*bags, broken], robot, out, jobs=2, progress=False)
    assert list(summary["recordings"]) == ["a_bag", "b_bag", f"{tmp_path.name}_broken"]
    assert "expected an MCAP file" in summary["recordings"][f"{tmp_path.name}_broken"]["failed"]
    assert summary["episodes"] == 2
    before = {p: p.stat().st_mtime_ns for p in out.glob("*_bag/*.h5")}
    shutil.rmtree(out / "b_bag")
    (out / ".b_bag.1.part").mkdir()  # what a crash leaves
    build_episodes(bags, robot, out, jobs=2, progress=False)
    after = {p: p.stat().st_mtime_ns for p in out.glob("*_bag/*.h5")}
    assert {p: t for p, t in after.items() if p.parent.name == "a_bag"} == {
        p: t for p, t in before.items() if p.parent.name == "a_bag"
    }
    assert not list(out.glob(".*part"))
    assert json.loads((out / "summary.json").read_text())["episodes"] == 2


def test_what_an_earlier_converter_made_is_said_and_converted_again(
    tmp_path: Path, robot: Robot, caplog: pytest.LogCaptureFixture
) -> None:
    bag, out = write_bag(tmp_path / "bag", motion(1.0)), tmp_path / "out"
    convert(bag, robot, out)
    about = out / "bag" / "recording.json"
    old = json.loads(about.read_text())
    del old["converter"]  # as recordings of before it was counted have none
    about.write_text(json.dumps(old))
    prepare_recordings(out, robot.modalities, progress=False)
    assert [r.message for r in caplog.records if "earlier version" in r.message] == [
        f"{bag.resolve()} was converted by an earlier version, which kept other samples or stamps: "
        "give `smvae episodes` again"
    ]
    caplog.clear()
    before = {p: p.stat().st_mtime_ns for p in out.glob("bag/*.h5")}
    convert(bag, robot, out)
    (line,) = [r.message for r in caplog.records if "earlier version" in r.message]
    assert line.endswith("stamps; it is converted again")
    after = {p: p.stat().st_mtime_ns for p in out.glob("bag/*.h5")}
    assert after.keys() == before.keys()
    assert all(after[p] > before[p] for p in before)
    caplog.clear()
    convert(bag, robot, out)
    prepare_recordings(out, robot.modalities, progress=False)
    assert {p: p.stat().st_mtime_ns for p in out.glob("bag/*.h5")} == after
    assert not [r for r in caplog.records if "earlier version" in r.message]


def test_a_conversion_that_shall_stop_ends_at_its_next_message(
    tmp_path: Path, robot: Robot
) -> None:
    bags = [write_bag(tmp_path / n / "bag", two_parts()) for n in "ab"]
    out, told = tmp_path / "out", Told(multiprocessing.get_context("spawn"))
    out.mkdir()
    first, second = plan(bags, robot, out, DEFAULT_TYPESTORE)
    assert _attempt(first, told, told.stop) == {}  # while its first messages are told
    assert 0 < told.done.value < told.total.value
    assert _attempt(second, told) == {}
    assert not list(out.iterdir())


#: Hears Ctrl-C as a terminal sends it, to the workers too, when it first looks for what is done and
#: something is: the workers may be ahead, but it has not heard of their end.
STOPPED = """
import os, signal, sys
from pathlib import Path
from smvae_datasets.recordings import build
from smvae_training.cli import main

out = Path(sys.argv[sys.argv.index("--out") + 1])
wait = build.wait

def interrupted(*arguments, **options):
    unfinished = True
    while unfinished and not list(out.glob("bag*")):
        _, unfinished = wait(*arguments, **options)
    os.killpg(0, signal.SIGINT)
    return wait(*arguments, **options)

if __name__ == "__main__":
    build.wait = interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_leaves_what_is_finished_and_no_part(tmp_path: Path, robot: Robot) -> None:
    bags = [write_bag(tmp_path / f"bag{n}", two_parts()) for n in range(6)]
    out, file = tmp_path / "out", tmp_path / "robot.yaml"
    words = ["episodes", *map(str, bags), "--robot", str(file), "--out", str(out), "--jobs", "2"]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        check=False,
    )
    assert done.returncode == INTERRUPTED, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.glob(".*part"))
    assert build_episodes(bags, robot, out, jobs=1, progress=False)["episodes"] == 12


def test_a_killed_conversion_leaves_no_process_behind(tmp_path: Path, robot: Robot) -> None:
    bags = [write_bag(tmp_path / f"bag{n}", motion(8.0)) for n in range(2)]
    out, file = tmp_path / "out", tmp_path / "robot.yaml"
    words = ["episodes", *map(str, bags), "--robot", str(file), "--out", str(out), "--jobs", "2"]
    program = "import sys; from smvae_training.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as killed:
        await_that(lambda: any(out.glob(".*part")))
        session = [p for p, of in processes().items() if of == killed.pid]
        killed.kill()
    assert len(session) >= 3
    await_that(lambda: not any(p in processes() for p in session))
    assert build_episodes(bags, robot, out, jobs=1, progress=False)["episodes"] == 2


def processes() -> dict[int, int]:
    """Return all that run, without those that ended and were not asked for, with their sessions."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if state != "Z":
                found[int(path.parent.name)] = int(session)
    return found


def await_that(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_part_ends_at_its_size_and_reads_as_one(
    tmp_path: Path, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = write_bag(tmp_path / "bag", motion(2.0))
    convert(bag, robot, tmp_path / "whole")
    monkeypatch.setattr("smvae_datasets.recordings.episode_files.PART_BYTES", 100_000)
    convert(bag, robot, tmp_path / "parts")
    whole, parts = (
        prepare_recordings(tmp_path / name, robot.modalities, progress=False)
        for name in ("whole", "parts")
    )
    assert len(list_episodes(tmp_path / "parts")[0].files) > 3
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(array, parts.arrays[name])


def test_nothing_is_written_by_a_dry_run_or_over_something_else(
    tmp_path: Path, robot: Robot
) -> None:
    bag = write_bag(tmp_path / "bag", motion(1.0))
    found = foresee([bag], robot, tmp_path / "out")
    assert found["recordings"]["bag"]["inputs"]["force"] == {"topic": "/wrench", "messages": 500}
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataSetError, match="holds something else"):
        convert(bag, robot, tmp_path)
    with pytest.raises(DataSetError, match="no such recording"):
        convert(tmp_path / "none", robot, tmp_path / "out")


@pytest.mark.parametrize("channels", [(), (3,)])
def test_images_come_back_as_they_were(channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (17, 23, *channels), np.uint8)
    np.testing.assert_array_equal(decode(encode(levels)), levels)


def test_depth_comes_back_as_it_was() -> None:
    rng = np.random.default_rng(0)
    millimetres = rng.integers(0, 65536, (17, 23)).astype(np.float32) * np.float32(0.001)
    floats = rng.uniform(0, 5, (17, 23)).astype(np.float32)
    floats[0, :3] = np.nan, np.inf, -1.0
    for depth in (millimetres, floats):
        np.testing.assert_array_equal(decode(encode(depth)), depth)
    assert len(encode(millimetres).data) < len(encode(floats).data)


def test_recordings_never_share_a_folder_nor_leave_that_of_the_episodes(
    tmp_path: Path, robot: Robot
) -> None:
    def bag(name: str) -> Path:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        return write_bag(tmp_path / name, motion(0.6))

    def names(*bags: Path) -> list[str]:
        build_episodes(bags, robot, out, progress=False)
        assert {p.name for p in tmp_path.iterdir()} == before, "something was written beside OUT"
        return [e.name.partition("/")[0] for e in list_episodes(out)]

    numbered = [bag("run.1"), bag("run.2")]
    alone = shutil.copy(next(numbered[0].glob("*.mcap")), tmp_path / "run.mcap")
    storages = [Path(alone), write_bag(tmp_path / "run", motion(0.6), "ros1")]
    hidden, first, second = bag(".hidden"), bag("day1/same"), bag("day2/same")
    before = {p.name for p in tmp_path.iterdir()} | {"out"}
    out = tmp_path / "out"
    assert names(*numbered) == ["run.1", "run.2"]
    assert names(*storages) == ["run.1", "run.2", "run.bag", "run.mcap"]
    with pytest.raises(DataSetError, match=r"lies in .*run\.1, which is given too"):
        names(numbered[0], next(numbered[0].glob("*.mcap")))
    assert names(hidden) == ["hidden", "run.1", "run.2", "run.bag", "run.mcap"]
    shutil.rmtree(out)
    assert names(first) == ["same"]
    assert names(second) == ["day2_same", "same"], "another recording of the same name"
    assert names(first, second) == ["day2_same", "same"], "names stay"


def test_a_recording_that_moved_is_known_again(tmp_path: Path, robot: Robot) -> None:
    bag, out = write_bag(tmp_path / "a" / "bag", motion(0.6)), tmp_path / "out"
    build_episodes([bag], robot, out, progress=False)
    made = (out / "bag" / "recording.json").stat().st_mtime_ns
    moved = shutil.move(tmp_path / "a", tmp_path / "b") / "bag"
    build_episodes([moved], robot, out, progress=False)
    assert (out / "bag" / "recording.json").stat().st_mtime_ns == made, "converted again"
    copied = Path(shutil.copytree(moved, tmp_path / "c" / "bag", copy_function=shutil.copyfile))
    shutil.rmtree(tmp_path / "b")
    build_episodes([copied], robot, out, progress=False)
    assert [e.name for e in list_episodes(out)] == ["bag/0000"]
