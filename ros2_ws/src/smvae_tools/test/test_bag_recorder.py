"""The recorder loses nothing, keeps bytes as they came, leaves a valid bag."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import WrenchStamped
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot_harness import Listener, Program
from smvae_msgs.msg import Estimate, Estimates, LatentState
from smvae_tools.bags.recorder import DEFAULT_TOPICS, matching_qos, parse
from smvae_tools.bags.writer import BagWriter, RecordingError
from std_msgs.msg import String

from smvae_core.errors import ConfigError

RELIABLE = QoSProfile(depth=5000, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def read(bag: Path) -> dict[str, list[tuple[int, Any]]]:
    """Return (log time, message) by topic."""
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        for connection, time_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((time_ns, message))
    return found


def test_the_writer_refuses_a_folder_that_exists(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="exists already"):
        BagWriter(tmp_path)


def test_the_writer_names_a_type_without_definition(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    with pytest.raises(RecordingError, match="no definition of nobody_msgs/msg/Nothing"):
        writer.add_topic("/x", "nobody_msgs/msg/Nothing")
    writer.finish({})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--topics", "["], "topics: '[' is no regular expression: unterminated"),
        (["--duration", "-1"], "duration must not be negative, got -1"),
        (["--duration", "nan"], "duration must not be negative, got nan"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, words: list[str], said: str
) -> None:
    bag = tmp_path / "bag"
    with pytest.raises(ConfigError) as refused:
        parse([str(bag), *words])
    assert str(refused.value).startswith(said)
    assert not bag.exists()


def test_a_failure_to_write_is_reported_at_the_end(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    writer.put("/never_added", 1, b"")
    with pytest.raises(RecordingError, match="never_added"):
        writer.finish({})


def test_the_recorder_asks_for_what_every_publisher_offers() -> None:
    assert matching_qos([RELIABLE], 9).reliability == ReliabilityPolicy.RELIABLE
    assert matching_qos([RELIABLE, BEST_EFFORT], 9).reliability == ReliabilityPolicy.BEST_EFFORT
    assert matching_qos([LATCHED], 9).durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert matching_qos([LATCHED, RELIABLE], 9).durability == DurabilityPolicy.VOLATILE
    assert matching_qos([RELIABLE], 9).depth == 9


@pytest.fixture
def listener(domain: int) -> Iterator[Listener]:
    client = Listener(domain)
    yield client
    client.close()


@pytest.mark.dds
def test_every_reliable_message_is_recorded_in_order(
    tmp_path: Path, domain: int, listener: Listener
) -> None:
    """A burst of 2000 readings, a latched text of before, our own types; ended by SIGINT."""
    wrench = listener.node.create_publisher(WrenchStamped, "/wrench", RELIABLE)
    latent = listener.node.create_publisher(LatentState, "/smvae/latent", RELIABLE)
    estimates = listener.node.create_publisher(Estimates, "/smvae/estimates", RELIABLE)
    marks = listener.node.create_publisher(String, "/demo/schedule", LATCHED)
    other = listener.node.create_publisher(String, "/not/recorded", RELIABLE)
    marks.publish(String(data="before the recorder came"))
    recorder = Program("smvae_tools.bags.recorder", domain, tmp_path / "log", str(tmp_path / "bag"))
    try:
        recorded = (wrench, latent, estimates, marks)
        listener.until(lambda: all(p.get_subscription_count() for p in recorded))
        for number in range(2000):
            message = WrenchStamped()
            message.wrench.force.x = float(number)
            wrench.publish(message)
        latent.publish(LatentState(mean=[1.0, 2.0], sequence=7))
        hole = Estimate(name="hole", mean=[0.5, math.nan], reason="y: not told")
        estimates.publish(Estimates(sequence=7, targets=[hole]))
        other.publish(String(data="no"))
        for publisher in recorded:  # what is on its way when SIGINT comes is not promised
            assert publisher.wait_for_all_acked(Duration(seconds=60))
        assert recorder.interrupt() == 0, recorder.text()
    finally:
        recorder.end()
    found = read(tmp_path / "bag")
    assert set(found) == {"/wrench", "/smvae/latent", "/smvae/estimates", "/demo/schedule"}
    values = [m.wrench.force.x for _, m in found["/wrench"]]
    assert values == list(map(float, range(2000)))
    times = np.array([t for t, _ in found["/wrench"]])
    assert (np.diff(times) >= 0).all()
    ((_, state),) = found["/smvae/latent"]
    assert (state.sequence, list(state.mean)) == (7, [1.0, 2.0])
    ((_, said),) = found["/smvae/estimates"]
    assert (said.sequence, said.targets[0].name, said.targets[0].reason) == (7, "hole", hole.reason)
    np.testing.assert_array_equal(said.targets[0].mean, [0.5, math.nan])
    assert found["/demo/schedule"][0][1].data == "before the recorder came"
    assert "2000  /wrench\n" in recorder.text()
    assert "2003  messages in" in recorder.text()


@pytest.mark.dds
def test_a_duration_ends_the_recording(tmp_path: Path, domain: int) -> None:
    arguments = (str(tmp_path / "bag"), "--duration", "0.3", "--topics", "/nothing")
    recorder = Program("smvae_tools.bags.recorder", domain, tmp_path / "log", *arguments)
    try:
        assert recorder.process.wait(60) == 0, recorder.text()
    finally:
        recorder.end()
    assert (tmp_path / "bag" / "metadata.yaml").is_file()


def test_the_default_topics_name_no_modality_of_the_node() -> None:
    assert any("predicted/[^/]+" in topic for topic in DEFAULT_TOPICS)
