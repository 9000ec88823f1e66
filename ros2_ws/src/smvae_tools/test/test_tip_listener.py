"""The arm's poses: pairs of one stamp, where it was, and when it is suddenly elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from smvae_tools.operators.tip_listener import TipListener


def pose(
    stamp_s: float, x: float = 0.5, yaw: float = 0.3, frame_id: str = "base_link"
) -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame_id
    stamp_ns = round(stamp_s * 1e9)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.pose.position.x = x
    message.pose.orientation.w, message.pose.orientation.z = math.cos(yaw / 2), math.sin(yaw / 2)
    return message


@pytest.fixture
def tip() -> TipListener:
    return TipListener("base_link")


def test_poses_of_one_stamp_make_a_pair_in_either_order(tip: TipListener) -> None:
    assert tip.setpoint(pose(1.0, 0.51, 0.4)) is None
    assert tip.tip(pose(1.0)) == 0.0
    np.testing.assert_allclose(tip.lead, [0.01, 0.0, 0.0, 0.1], atol=1e-12)
    assert tip.tip(pose(1.05)) is None
    assert tip.tip(pose(1.1)) is None
    assert tip.setpoint(pose(1.1)) == pytest.approx(0.1)
    assert tip.setpoint(pose(1.05)) is None, "a newer pair has come"
    assert tip.jumps == 0


def test_where_the_tip_was_is_known_for_a_while(tip: TipListener) -> None:
    for step in range(100):
        for half in (tip.setpoint, tip.tip):
            half(pose(1.0 + 0.05 * step, 0.5 + 0.001 * step))
    was = tip.at(round(5.0e9))
    assert was is not None
    assert was[0] == pytest.approx(0.58)
    assert tip.at(round(2.0e9)) is None


def test_a_tip_that_is_suddenly_elsewhere_is_in_another_world(tip: TipListener) -> None:
    for at, x in ((1.0, 0.5), (1.05, 0.52), (1.1, 0.7)):
        tip.setpoint(pose(at, x))
        tip.tip(pose(at, x))
    assert tip.jumps == 1
    assert tip.at(round(1.0e9)) is None, "where it was before says nothing any more"


@pytest.mark.parametrize("message", [pose(1.0, frame_id="world"), pose(0.0), pose(1.0, x=math.nan)])
def test_a_pose_without_frame_stamp_or_numbers_is_refused(
    tip: TipListener, message: PoseStamped
) -> None:
    assert "finite numbers in 'base_link' with a stamp are expected" in tip.refusal(message)
    assert tip.refusal(pose(1.0, frame_id="")) == ""
