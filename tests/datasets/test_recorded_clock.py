"""Simulated time in a recording of wall time: what a node with use_sim_time would have fused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smvae_core.bags import Bag
from smvae_core.recorded_clock import RecordedClock
from smvae_core.robot import Robot
from smvae_core.robot.reading import parse_robot
from smvae_datasets.recordings.build import build_episodes
from smvae_datasets.recordings.declared import Declared
from smvae_datasets.recordings.episode_files import EpisodeFiles
from smvae_datasets.recordings.fitting import fits
from smvae_datasets.recordings.folder import list_episodes
from smvae_datasets.recordings.report import summary_lines
from smvae_datasets.recordings.scaffold import scaffold_bag
from smvae_datasets.recordings.steps import play_steps
from tests.datasets.recorded import LATENCY_NS, MS, START_NS, Recorded, write_bag

#: Simulated time when the recording begins, and how much passes in a second of the wall.
BEGIN_NS, SPEED = 5_000 * MS, 0.5
CLOCK_HZ = 100.0
SECONDS = 8.0


def simulated(ns: int) -> int:
    """Return simulated time at a time of the wall."""
    return BEGIN_NS + round(SPEED * (ns - START_NS))


def ticked(ns: int) -> int:
    """Return what the newest message of /clock says then."""
    period_ns = round(1e9 / CLOCK_HZ)
    return simulated(START_NS + (ns - START_NS) // period_ns * period_ns)


def clock(ns: int, says_ns: int) -> Recorded:
    seconds, rest = divmod(says_ns, 1_000_000_000)
    value = {"clock": {"sec": seconds, "nanosec": rest}}
    return Recorded("/clock", "rosgraph_msgs/msg/Clock", 0, ns, value)


def ticks(seconds: float = SECONDS) -> Iterator[Recorded]:
    for n in range(round(seconds * CLOCK_HZ)):
        at = START_NS + round(n / CLOCK_HZ * 1e9)
        yield clock(at, simulated(at))


def stream(
    topic: str, message_type: str, rate_hz: float, value: Any, *, wall: bool = False
) -> Iterator[Recorded]:
    """Yield messages, made in simulated time; the wall's of who does not follow it."""
    for n in range(round(SECONDS * rate_hz)):
        at = START_NS + round((n + 0.27) / rate_hz * 1e9)
        yield Recorded(
            topic, message_type, at if wall else simulated(at), at + LATENCY_NS, value(n)
        )


def joints(n: int) -> dict[str, Any]:
    return {"name": ["a"], "position": [np.sin(n)]}


def moved(n: int) -> dict[str, Any]:
    return {"linear": {"x": np.sin(n)}}


def recording(path: Path, *, stamped: bool = False, clocked: bool = True) -> Path:
    """Write a simulator's bag, recorded in wall time.

    Args:
        path: Of the bag.
        stamped: Whether the command has a stamp: what /clock said when it came.
        clocked: Whether /clock was recorded.
    """
    kind = "geometry_msgs/msg/TwistStamped" if stamped else "geometry_msgs/msg/Twist"
    commands = stream("/cmd", kind, 20, lambda n: {"twist": moved(n)} if stamped else moved(n))
    commands = (each._replace(stamp_ns=ticked(each.received_ns)) for each in commands)
    return write_bag(
        path,
        sorted(
            (
                *stream("/js", "sensor_msgs/msg/JointState", 50, joints),
                *stream("/pose", "geometry_msgs/msg/PointStamped", 30, lambda n: point(n)),
                *commands,
                *stream("/contact", "std_msgs/msg/Bool", 20, lambda n: {"data": n % 2 == 0}),
                *stream("/wall", "geometry_msgs/msg/PointStamped", 20, point, wall=True),
                *(ticks() if clocked else ()),
            ),
            key=lambda each: each.received_ns,
        ),
    )


def point(n: int) -> dict[str, Any]:
    return {"point": {"x": float(n)}}


def robot(kind: str = "geometry_msgs/msg/Twist", *, with_wall: bool = False) -> Robot:
    sensors: dict[str, Any] = {
        "js": {"kind": "joint_state", "channel": {"topic": "/js"}, "joints": ["a"]},
        "cmd": {
            "kind": "command",
            "channel": {"topic": "/cmd", "type": kind},
            "select": ["linear.x"],
            "step_time_s": 0.05,
        },
        "pose": pointed("/pose"),
    }
    if with_wall:
        sensors["wall"] = pointed("/wall")
    targets = {"contact": {"channel": {"topic": "/contact"}, "select": ["data"], "binary": True}}
    steps = {"rate_hz": 17}  # never at the moment of a message
    return parse_robot({"robot": "one", "sensors": sensors, "targets": targets, "episodes": steps})


def pointed(topic: str) -> dict[str, Any]:
    channel = {"topic": topic, "type": "geometry_msgs/msg/PointStamped"}
    return {"kind": "vector", "channel": channel, "select": ["point.x"]}


def converted(bag: Path, of: Robot, out: Path) -> dict[str, Any]:
    (found,) = build_episodes([bag], of, out, progress=False)["recordings"].values()
    assert isinstance(found, dict)
    return found


def test_what_has_no_stamp_stands_beside_simulated_stamps(tmp_path: Path) -> None:
    bag = recording(tmp_path / "bag")
    with Bag(bag) as opened:
        found = scaffold_bag(opened)
        held = {fit.name: fit for fit in fits(robot(with_wall=True), opened)}
    assert list(found.data["sensors"]) == ["cmd", "js", "pose"]
    assert list(found.data["targets"]) == ["contact"]
    said = "no stamp: counts from the newest /clock when it came, up to 0.005 s early"
    assert found.about["cmd"].endswith(said)
    assert found.about["contact"].endswith(said)
    (why,) = [line for line in found.left_out if line.startswith("/wall: ")]
    assert "which are of /clock: a node with use_sim_time cannot fuse it either" in why
    assert held["cmd"].remark == held["contact"].remark == said
    assert not held["cmd"].wrong + held["js"].wrong + held["contact"].wrong
    assert held["wall"].wrong.endswith(why.partition(", which are of /clock")[2])

    numbers = converted(bag, robot(), tmp_path / "out")
    assert numbers["faults"] == []
    assert numbers["clock"] == {"topic": "/clock", "messages": 800, "period_s": 0.005}
    assert "/clock" not in numbers["not_declared"]
    assert numbers["targets"]["contact"]["used"] > 120
    (line,) = [line for line in summary_lines(of_one(numbers)) if "clock:" in line]
    assert line == (
        "  clock: /clock, 800 messages, as of a node with use_sim_time: what has no stamp counts "
        "from the newest of them, up to 0.005 s early"
    )


def of_one(numbers: dict[str, Any]) -> dict[str, Any]:
    return {"recordings": {"bag": numbers}, "episodes": 1, "steps": 1, "seconds": 1.0}


def test_it_is_as_if_each_message_were_stamped_by_the_newest_clock(tmp_path: Path) -> None:
    """That is what a node with use_sim_time does with it."""
    plain, told = tmp_path / "plain", tmp_path / "told"
    converted(recording(tmp_path / "a"), robot(), plain)
    stamped = robot("geometry_msgs/msg/TwistStamped")
    converted(recording(tmp_path / "b", stamped=True), stamped, told)
    ((one, steps), (other, expected)) = (
        (files(folder), EpisodeFiles(files(folder))) for folder in (plain, told)
    )
    assert len(one) == len(other) == 1
    for name in ("reference_ns", "taken_ns", "sample"):
        np.testing.assert_array_equal(steps.array(f"steps/{name}"), expected.array(f"steps/{name}"))
    held = (steps.array("steps/sample") >= 0).all(axis=1)
    assert held.mean() > 0.9
    came = steps.array("sensors/cmd/arrival_ns")
    assert steps.array("sensors/cmd/stamp_ns").tolist() == [ticked(ns) for ns in came.tolist()]
    np.testing.assert_array_equal(steps.clock_ns("cmd"), steps.array("sensors/cmd/stamp_ns"))


def files(folder: Path) -> list[Path]:
    (episode,) = list_episodes(folder)
    return list(episode.files)


def test_steps_are_taken_anew_by_the_same_clock(tmp_path: Path) -> None:
    of = robot()
    converted(recording(tmp_path / "bag"), of, tmp_path / "out")
    with EpisodeFiles(files(tmp_path / "out")) as episode:
        references, samples = play_steps(episode, Declared.of(of))
        kept = episode.array("steps/reference_ns")
        np.testing.assert_array_equal(references[-len(kept) + 5 :], kept[5:])
        np.testing.assert_array_equal(samples[-len(kept) + 5 :], episode.array("steps/sample")[5:])


def test_without_clock_it_is_said_what_to_record(tmp_path: Path) -> None:
    with Bag(recording(tmp_path / "bag", clocked=False)) as opened:
        held = {fit.name: fit for fit in fits(robot(), opened)}
        assert not RecordedClock.of(opened, ["/js", "/cmd"]).followed
    assert "record /clock too, or simulated time with" in held["cmd"].wrong


def test_stamps_of_the_wall_beside_a_clock_are_not_simulated(tmp_path: Path) -> None:
    """Who stamps by the wall does not follow /clock, and a node beside it need not either."""
    with Bag(recording(tmp_path / "bag")) as opened:
        assert RecordedClock.of(opened, ["/js", "/cmd"]).followed
        assert not RecordedClock.of(opened, ["/wall", "/cmd"]).followed
        assert not RecordedClock.of(opened, ["/wall", "/js"]).followed, "neither are most"
        assert not RecordedClock.of(opened, ["/cmd"]).followed, "no stamp tells"


@pytest.mark.parametrize("back", [True, False])
def test_where_the_clock_jumps_an_episode_ends(tmp_path: Path, back: bool) -> None:
    """As in the node, what came before is never fused with what comes after."""
    jump_ns = -2_000 * MS if back else 30_000 * MS
    half_ns = START_NS + 4_000 * MS

    def jumped(each: Recorded) -> Recorded:
        if each.received_ns < half_ns:
            return each
        if each.topic == "/clock":
            return clock(each.received_ns, simulated(each.received_ns) + jump_ns)
        return each._replace(stamp_ns=each.stamp_ns + jump_ns)

    bag = write_bag(
        tmp_path / "bag",
        sorted(
            (
                jumped(each)
                for part in (
                    stream("/js", "sensor_msgs/msg/JointState", 50, joints),
                    stream("/cmd", "geometry_msgs/msg/Twist", 20, moved),
                    stream("/pose", "geometry_msgs/msg/PointStamped", 30, point),
                    ticks(),
                )
                for each in part
            ),
            key=lambda each: each.received_ns,
        ),
    )
    of = replace(robot(), targets=())
    found = converted(bag, of, tmp_path / "out")
    side = "back by 2.00" if back else "forward by 30.01"
    (fault,) = found["faults"]
    assert fault.startswith(f"/clock jumped {side}")
    assert fault.endswith("at 4.00 s: an episode ends")
    assert len(found["episodes"]) == 2
    for episode in list_episodes(tmp_path / "out"):
        with EpisodeFiles(episode.files) as opened:
            stamps = opened.array("sensors/cmd/stamp_ns")
            assert (np.diff(stamps) > 0).all()
            assert np.ptp(stamps) < 3_000 * MS
