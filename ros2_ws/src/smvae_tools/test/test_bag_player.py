"""The player over real DDS: every message as it was recorded, /clock before each, jumps, pause."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import WrenchStamped
from mcap.writer import Writer as McapWriter
from rclpy.serialization import serialize_message
from robot_harness import Listener, Program, stamp
from rosgraph_msgs.msg import Clock
from sample_bag import START_NS, write_bag
from sensor_msgs.msg import Image
from smvae_msgs.msg import LatentState, ModelInfo
from std_srvs.srv import SetBool

from smvae_core.bags import Bag

pytestmark = pytest.mark.dds
#: Recorded before messages had all of their fields.
FROZEN_BAG = Path(__file__).parents[4] / "tests/frozen/bag"


@pytest.fixture(scope="module")
def bag(modalities: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("player") / "bag", modalities, 2.0)


class Audience(Listener):
    """Hears /clock and the topics of the bag, in the order in which messages come."""

    def __init__(self, domain: int) -> None:
        super().__init__(domain)
        self.wrenches: list[WrenchStamped] = self.listen(WrenchStamped, "/wrench")
        self.images: list[Image] = self.listen(Image, "/rgb/image")
        self.ticks: list[Clock] = self.listen(Clock, "/clock")

    def heard(self) -> int:
        return len(self.wrenches) + len(self.images) + len(self.ticks)

    def clock_s(self) -> list[float]:
        """Return the ticks as seconds since the bag's first stamp."""
        ns = [t.clock.sec * 10**9 + t.clock.nanosec for t in self.ticks]
        return [(n - START_NS) * 1e-9 for n in ns]


@pytest.fixture
def audience(domain: int) -> Iterator[Audience]:
    audience = Audience(domain)
    yield audience
    audience.close()


@pytest.fixture
def play(domain: int, bag: Path, tmp_path: Path) -> Iterator[Any]:
    """Start the player on the bag's wrench and camera; it ends with the test."""
    started: list[Program] = []

    def start(*arguments: str) -> Program:
        topics = ("--topics", "/wrench", "/rgb/image", "--wait", "30")
        log = tmp_path / f"player{len(started)}.log"
        started.append(
            Program("smvae_tools.bags.player", domain, log, str(bag), *topics, *arguments)
        )
        return started[-1]

    yield start
    for program in started:
        program.end()


def ended(audience: Audience, program: Program) -> int:
    """Spin until the player is done; return its exit code."""
    audience.until(lambda: program.process.poll() is not None)
    audience.still(audience.heard)  # what is still in our queues
    return int(program.process.returncode)


def test_every_message_comes_as_recorded_and_after_its_clock(
    audience: Audience, play: Any, modalities: Any
) -> None:
    program = play("--rate", "2.0")
    assert ended(audience, program) == 0, program.text()
    assert len(audience.wrenches) == 500
    assert len(audience.images) == 20
    assert [stamp(m) for m in audience.wrenches] == [START_NS + n * 4_000_000 for n in range(500)]
    rgb = next(m for m in modalities if m.name == "rgb")
    assert bytes(audience.images[3].data) == rgb.example_sample(3).tobytes()
    assert audience.images[3].header.frame_id == "rgb_frame"
    clock = audience.clock_s()
    assert len(clock) == 520
    assert all(a <= b for a, b in pairwise(clock))
    assert "520 messages of 2 topics played" in program.text()


def test_clock_jumps_back_and_forth_as_told(audience: Audience, play: Any) -> None:
    program = play("--start-offset", "0.5", "--jump", "0.8:0.1", "--jump", "0.4:1.6")
    assert ended(audience, program) == 0, program.text()
    clock = audience.clock_s()
    jumps = [(round(a, 1), round(b, 1)) for a, b in pairwise(clock) if abs(b - a) > 0.2]
    assert round(clock[0], 1) == 0.5
    assert jumps == [(0.8, 0.1), (0.4, 1.6)]
    assert max(clock) > 1.9


def test_a_loop_begins_again_until_it_is_interrupted(audience: Audience, play: Any) -> None:
    program = play("--loop", "--start-offset", "1.8")
    audience.until(lambda: sum(b < a for a, b in pairwise(audience.clock_s())) >= 2)
    assert program.interrupt() == 0, program.text()


def test_pause_stops_the_clock_and_going_on_loses_nothing(audience: Audience, play: Any) -> None:
    program = play("--start-paused")
    switch = audience.caller(SetBool, "/bag_player/pause")
    audience.until(lambda: audience.node.count_publishers("/wrench"))
    audience.came_true(lambda: False, 1.0)
    assert not audience.ticks
    assert switch(SetBool.Request(data=False)).success
    audience.until(lambda: audience.ticks)
    switch(SetBool.Request(data=True))
    heard = audience.still(audience.heard)
    assert heard < 500, "all of the bag is over"
    audience.came_true(lambda: False, 1.0)
    assert audience.heard() == heard
    switch(SetBool.Request(data=False))
    assert ended(audience, program) == 0, program.text()
    assert len(audience.wrenches) == 500


def test_the_clock_goes_on_through_a_silence(
    audience: Audience, domain: int, modalities: Any, tmp_path: Path
) -> None:
    """Or a node would take two seconds without a message for a jump of time."""
    bag = write_bag(tmp_path / "silent", modalities, 1.2, silence_s=2.0)
    topics = ("--topics", "/wrench", "/rgb/image", "--wait", "30")
    program = Program("smvae_tools.bags.player", domain, tmp_path / "silent.log", str(bag), *topics)
    try:
        assert ended(audience, program) == 0, program.text()
    finally:
        program.end()
    clock = audience.clock_s()
    assert all(a <= b for a, b in pairwise(clock))
    assert clock[-1] > 3.0
    assert len([t for t in clock if 1.1 < t < 2.9]) >= 3


@pytest.mark.parametrize(
    ("bag_name", "arguments", "said"),
    [
        ("nowhere", (), "nowhere: no such file or folder"),
        ("bag", ("--topics", "/x"), "no topic /x; it has /action (geometry_msgs/msg/TwistStamped"),
        ("bag", ("--rate", "0"), "rate must be positive"),
        ("bag", ("--jump", "9:1"), "jump 9 s lies outside the bag"),
        ("bag", ("--wait", "-1"), "wait must not be negative"),
        ("bag", ("--wait", "nan"), "wait must not be negative"),
    ],
)
def test_what_cannot_be_played_ends_with_one_line(
    bag: Path, domain: int, tmp_path: Path, bag_name: str, arguments: tuple[str, ...], said: str
) -> None:
    path = bag if bag_name == "bag" else tmp_path / bag_name
    program = Program("smvae_tools.bags.player", domain, tmp_path / "log", str(path), *arguments)
    program.gives_up(said)


def test_what_is_no_ros_message_is_left_out_and_named(
    audience: Audience, domain: int, tmp_path: Path
) -> None:
    path = tmp_path / "foreign.mcap"
    data = serialize_message(WrenchStamped())
    with path.open("wb") as file:
        writer = McapWriter(file, use_chunking=False)
        writer.start()
        wrench = writer.register_schema("geometry_msgs/msg/WrenchStamped", "", b"")
        event = writer.register_schema("events", "jsonschema", b"{}")
        topics = [
            writer.register_channel("/wrench", "cdr", wrench),
            writer.register_channel("/events", "json", event),
        ]
        for n in (1, 3, 2):  # out of order
            writer.add_message(topics[0], START_NS + n, data, START_NS)
            writer.add_message(topics[1], START_NS + n, b"{}", START_NS)
        writer.finish()
    program = Program(
        "smvae_tools.bags.player", domain, tmp_path / "log", str(path), "--wait", "30", "--no-clock"
    )
    try:
        assert ended(audience, program) == 0, program.text()
    finally:
        program.end()
    assert len(audience.wrenches) == 3
    assert "no ROS messages, left out: /events (json)" in program.text()


def test_latents_of_older_definitions_play_as_those_of_today(
    audience: Audience, domain: int, tmp_path: Path
) -> None:
    """What the frozen bag's messages lack has its default."""
    latents = audience.listen(LatentState, "/smvae/latent")
    infos = audience.listen(ModelInfo, "/smvae/model_info")
    arguments = ("--topics", "/smvae/latent", "/smvae/model_info", "--wait", "30", "--rate", "4")
    path = tmp_path / "log"
    program = Program("smvae_tools.bags.player", domain, path, str(FROZEN_BAG), *arguments)
    try:
        assert ended(audience, program) == 0, program.text()
    finally:
        program.end()
    with Bag(FROZEN_BAG) as bag:
        recorded = [bag.decode(t, d) for t, _, d in bag.messages(["/smvae/latent"])]
    assert len(latents) == len(recorded) > 20
    assert not hasattr(recorded[0].modalities[0], "elements")
    for played, was in zip(latents, recorded, strict=True):
        assert (played.epoch, played.sequence) == (was.epoch, was.sequence)
        assert stamp(played) == stamp(was)
        assert list(played.mean) == was.mean.tolist()
        assert [m.name for m in played.modalities] == [m.name for m in was.modalities]
        assert [m.state for m in played.modalities] == [m.state for m in was.modalities]
        assert {m.elements for m in played.modalities} == {0}
        assert math.isnan(played.modalities[0].nll) == math.isnan(was.modalities[0].nll)
    assert [m.name for m in infos[0].modalities] == ["rgb", "depth", "force", "action"]


def test_fewer_messages_than_are_counted_are_said(
    domain: int, audience: Audience, modalities: Any, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", modalities, 0.2)
    metadata = bag / "metadata.yaml"
    text = metadata.read_text(encoding="utf-8")
    assert "message_count: 50\n" in text
    metadata.write_text(text.replace("message_count: 50\n", "message_count: 51\n"), "utf-8")
    program = Program("smvae_tools.bags.player", domain, tmp_path / "log", str(bag))
    try:
        assert ended(audience, program) == 1, program.text()
    finally:
        program.end()
    assert "/wrench has 50 messages, but 51 are counted in the bag" in program.text()
