"""Targets of a simulator's bag: the node's clock is one, whoever else is recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("rosbags")

from smvae_core.bags import Bag
from smvae_core.recorded_clock import RecordedClock
from smvae_training.audit.coverage import TargetTopic, read_truth
from tests.datasets.recorded import write_bag
from tests.datasets.test_recorded_clock import joints, moved, point, stream, ticked, ticks

POINT = "geometry_msgs/msg/PointStamped"


def test_a_target_counts_by_the_clock_of_the_sensors_whatever_else_is_recorded(
    tmp_path: Path,
) -> None:
    """Of what is stamped, most is so by the wall; the sensors are not."""
    said = [
        *stream("/js", "sensor_msgs/msg/JointState", 50, joints),
        *stream("/hole", "geometry_msgs/msg/Twist", 20, moved),
        *(each for name in ("/a", "/b") for each in stream(name, POINT, 20, point, wall=True)),
        *ticks(),
    ]
    said.sort(key=lambda each: each.received_ns)
    wanted = TargetTopic(name="hole", topic="/hole", paths=("linear.x",))
    with Bag(write_bag(tmp_path / "bag", said)) as bag:
        assert not RecordedClock.of(bag, list(bag.topics)).followed
        truth = read_truth(bag, wanted, RecordedClock.of(bag, ["/js"]))
    received = [each.received_ns for each in said if each.topic == "/hole"]
    np.testing.assert_array_equal(truth.stamps_ns, [ticked(ns) for ns in received])
