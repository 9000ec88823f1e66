"""Wrenches and commands by every message that carries them, stamps, and what looks wrong."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from benchmarks.messages import build
from smvae_core.messages import (
    ConversionError,
    ConversionOptions,
    has_stamp,
    stamp_ns,
)
from smvae_core.modality import Modality
from smvae_core.presets import VISION_TOUCH
from tests import buffers

RGB, DEPTH, FORCE, ACTION = VISION_TOUCH
OPTIONS = ConversionOptions()
TWIST, JOINTS, NUMBERS, PLAIN = (
    "geometry_msgs/msg/TwistStamped",
    "sensor_msgs/msg/JointState",
    "std_msgs/msg/Float32MultiArray",
    "geometry_msgs/msg/Twist",
)
ARM = ConversionOptions(joint_names=("shoulder", "elbow", "wrist", "hand"))
VELOCITY = [0.1, 0.2, -0.3, 0.4]
DISPLACEMENT = [0.005, 0.01, -0.015, 0.02]


def convert(message: Any, message_type: str, options: ConversionOptions = OPTIONS) -> Any:
    return buffers.convert(ACTION.converter(message_type), ACTION, message, options)


def refusal(message: Any, message_type: str, options: ConversionOptions = OPTIONS) -> str:
    with pytest.raises(ConversionError, match=r"^action: \w+: expected .*, got ") as caught:
        convert(message, message_type, options)
    return caught.value.reason


def test_a_wrench_becomes_six_numbers_in_declared_order() -> None:
    message = build.wrench([1, 2, 3, 4, 5, 6])
    to_array = FORCE.converter().to_array
    np.testing.assert_array_equal(to_array(FORCE, message, OPTIONS), [1, 2, 3, 4, 5, 6])
    message.wrench.force.z = 1e39  # finite in 64 bits only
    message.wrench.torque.y = float("nan")
    with pytest.raises(ConversionError, match=r"force: nan: .* got force\.z, torque\.y"):
        to_array(FORCE, message, OPTIONS)
    message.wrench.torque.y = None
    with pytest.raises(ConversionError, match=r"force: field: expected torque\.y"):
        to_array(FORCE, message, OPTIONS)
    del message.wrench
    with pytest.raises(ConversionError, match="force: field: expected a message with wrench"):
        to_array(FORCE, message, OPTIONS)


def test_a_twist_becomes_a_displacement_and_back() -> None:
    message = build.twist([0.1, 0.2, -0.3, 9.0, 9.0, 0.4])
    displacement = convert(message, TWIST)
    np.testing.assert_allclose(displacement, DISPLACEMENT, rtol=1e-6)
    slow = convert(message, TWIST, ConversionOptions(step_time_s=0.1))
    np.testing.assert_allclose(slow, 2 * displacement, rtol=1e-6)
    back = build.twist([0.0] * 6)
    ACTION.converter().fill(ACTION, back, displacement, 0, "tool", OPTIONS)
    assert back.twist.linear.z == pytest.approx(-0.3)
    assert back.twist.angular.z == pytest.approx(0.4)
    del message.twist.angular
    with pytest.raises(ConversionError, match=r"action: field: expected angular\.z"):
        convert(message, TWIST)


def test_the_sample_does_not_depend_on_the_message_that_carried_it() -> None:
    twist = convert(build.twist([*VELOCITY[:3], 0, 0, VELOCITY[3]]), TWIST)
    joints = convert(build.joint_state(ACTION.fields, VELOCITY), JOINTS)
    named = convert(build.joint_state(ARM.joint_names, VELOCITY), JOINTS, ARM)
    numbers = convert(build.multi_array(VELOCITY), NUMBERS)
    plain = convert(build.twist([*VELOCITY[:3], 0, 0, VELOCITY[3]]).twist, PLAIN)
    np.testing.assert_array_equal(twist, plain)
    np.testing.assert_array_equal(twist, joints)
    np.testing.assert_array_equal(twist, named)
    np.testing.assert_allclose(twist, numbers, rtol=1e-6)  # its numbers have 32 bits
    assert {a.dtype for a in (twist, joints, named, numbers)} == {np.dtype(np.float32)}


def test_joints_are_picked_by_name_whatever_their_order() -> None:
    message = build.joint_state(["gripper", "hand", "shoulder", "wrist", "elbow"], [9, 4, 1, 3, 2])
    message.velocity[0] = float("nan")  # of a joint that nobody asked for
    np.testing.assert_allclose(
        convert(message, JOINTS, ARM), np.array([1, 2, 3, 4]) * 0.05, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("names", "velocity", "reason"),
    [
        (["shoulder", "elbow", "wrist"], [1, 2, 3], "field"),
        ([*ARM.joint_names, "elbow"], [1, 2, 3, 4, 5], "field"),
        ([], [], "field"),
        (ARM.joint_names, [1, 2, 3], "size"),
        (ARM.joint_names, [], "size"),
        (ARM.joint_names, [1, 2, 3, float("inf")], "nan"),
        (ARM.joint_names, [1, 2, 3, 1e300], "nan"),
    ],
)
def test_a_joint_state_that_lacks_something_is_refused(
    names: Any, velocity: Any, reason: str
) -> None:
    assert refusal(build.joint_state(names, velocity), JOINTS, ARM) == reason


def test_a_joint_state_of_other_members_is_refused() -> None:
    message = build.joint_state(ARM.joint_names, VELOCITY)
    message.velocity = None
    assert refusal(message, JOINTS, ARM) == "field"
    message = build.joint_state(ARM.joint_names, VELOCITY)
    message.name = 7
    assert refusal(message, JOINTS, ARM) == "field"
    few = ConversionOptions(joint_names=("shoulder",))
    with pytest.raises(ConversionError, match="4 joints, by the modality's fields or joint_names"):
        convert(build.joint_state(ARM.joint_names, VELOCITY), JOINTS, few)


@pytest.mark.parametrize("sizes", [(), (4,), (2, 2), (1, 4)])
@pytest.mark.parametrize("offset", [0, 3])
def test_numbers_are_read_behind_their_offset(sizes: tuple[int, ...], offset: int) -> None:
    message = build.multi_array([*[7.0] * offset, *VELOCITY], sizes, offset)
    np.testing.assert_allclose(convert(message, NUMBERS), DISPLACEMENT, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "sizes", "offset", "reason"),
    [
        (VELOCITY[:3], (), 0, "size"),
        ([*VELOCITY, 1.0], (), 0, "size"),
        (VELOCITY, (), 1, "size"),
        (VELOCITY, (), 2**32 - 1, "size"),
        (VELOCITY, (5,), 0, "size"),
        (VELOCITY, (2**32 - 1, 2**32 - 1), 0, "size"),
        ([], (), 0, "size"),
        ([0.0, 0.0, float("nan"), 0.0], (), 0, "nan"),
    ],
)
def test_numbers_that_do_not_fit_the_modality_are_refused(
    values: Any, sizes: Any, offset: int, reason: str
) -> None:
    assert refusal(build.multi_array(values, sizes, offset), NUMBERS) == reason


def test_a_modality_without_named_fields_is_read_from_numbers_alone() -> None:
    bare = Modality(name="action", kind="vector", shape=(4,), unit="m")
    to_array = partial(buffers.convert, ACTION.converter(NUMBERS))
    np.testing.assert_allclose(
        to_array(bare, build.multi_array(VELOCITY), OPTIONS), DISPLACEMENT, rtol=1e-6
    )
    with pytest.raises(ConversionError, match=r"nan: .* got value 1"):
        to_array(bare, build.multi_array([0, float("inf"), 0, 0]), OPTIONS)
    with pytest.raises(ConversionError, match="field: expected a modality that names its fields"):
        ACTION.converter(TWIST).to_array(bare, build.twist([0.0] * 6), OPTIONS)


@pytest.mark.parametrize("value", [1.1e6, -1e30])
def test_what_no_robot_can_mean_is_refused(value: float) -> None:
    with pytest.raises(ConversionError, match=r"force: range: expected at most 1e\+06, got"):
        FORCE.converter().to_array(FORCE, build.wrench([0, 0, value, 0, 0, 0]), OPTIONS)
    with pytest.raises(ConversionError, match="action: range"):
        convert(build.twist([0.0, 0.0, 20 * value, 0.0, 0.0, 0.0]), TWIST)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_depth_without_a_single_return_is_refused(value: float) -> None:
    """A covered camera is no sensor: the others make the latent."""
    pixels = np.full((40, 50), value, np.float32)
    to_array = partial(buffers.convert, DEPTH.converter())
    with pytest.raises(ConversionError, match="depth: empty: expected a pixel before the camera"):
        to_array(DEPTH, build.image(pixels, "32FC1"), OPTIONS)
    pixels[3, 7] = 0.4  # the one return, wherever it is
    np.testing.assert_array_equal(to_array(DEPTH, build.image(pixels, "32FC1"), OPTIONS), pixels)


@pytest.mark.parametrize("message_type", [JOINTS, NUMBERS])
def test_a_filled_command_comes_back(message_type: str) -> None:
    sample = np.array(DISPLACEMENT, np.float32)
    empty = build.joint_state([], []) if message_type == JOINTS else build.multi_array([])
    chosen = ACTION.converter(message_type)
    message = chosen.fill(ACTION, empty, sample, 3_000_000_004, "tool", ARM)
    np.testing.assert_allclose(convert(message, message_type, ARM), sample, rtol=1e-6)
    assert has_stamp(message) == (message_type != NUMBERS)


def test_a_message_without_a_header_is_stamped_on_arrival() -> None:
    message = build.multi_array(VELOCITY)
    assert not has_stamp(message)
    assert stamp_ns(message, arrival_ns=17) == 17
    with pytest.raises(ConversionError, match="stamp: expected a header, or a time of arrival"):
        stamp_ns(message)
    stamped = build.wrench([0.0] * 6)
    assert has_stamp(stamped)
    assert stamp_ns(stamped) == stamp_ns(stamped, arrival_ns=17) == 1_000_000_002


@pytest.mark.parametrize(
    ("modality", "sample", "warning"),
    [
        (DEPTH, np.full((4, 5), 700.0, np.float32), "looks like millimetres"),
        (DEPTH, np.full((4, 5), 0.0007, np.float32), "metres read as millimetres"),
        (DEPTH, np.full((4, 5), -0.5, np.float32), "optical frame"),
        (DEPTH, np.zeros((0, 5), np.float32), "no values"),
        (RGB, np.zeros((4, 5, 3), np.uint8), "every value of every pixel is 0"),
        (RGB, np.full((4, 5, 3), 255, np.uint8), "every value of every pixel is 255"),
        (FORCE, np.zeros((32, 6), np.float32), "exactly 0"),
        (FORCE, np.full(6, 2e4, np.float32), "another unit"),
        (ACTION, np.full(4, -50.0, np.float32), "another unit"),
    ],
)
def test_what_looks_wrong_is_said(modality: Modality, sample: Any, warning: str) -> None:
    assert warning in modality.plausibility(sample)


@pytest.mark.parametrize("modality", VISION_TOUCH, ids=lambda m: m.name)
def test_what_looks_right_is_not_warned_of(modality: Modality) -> None:
    assert modality.plausibility(modality.example_sample()) == ""


def test_rest_and_few_returns_are_plausible() -> None:
    assert ACTION.plausibility(np.zeros(4, np.float32)) == ""
    sparse = np.zeros((480, 640), np.float32)
    sparse[3, 2] = 0.4  # the one return, wherever it is
    sparse[7, 7] = -0.1
    assert DEPTH.plausibility(sparse) == ""
    raw = build.image(np.full((4, 5), 400, np.uint16), "16UC1")
    seen = DEPTH.converter().to_array(DEPTH, raw, ConversionOptions(depth_scale=1.0))
    assert "depth_scale to 0.001" in DEPTH.plausibility(seen)
