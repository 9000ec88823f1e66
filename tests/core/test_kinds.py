"""Kinds: options, views of a camera, depth that is cut, windows, scans, joints, floors."""

from __future__ import annotations

from array import array
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from smvae_core import kinds
from smvae_core.errors import ConfigError, SampleError
from smvae_core.kinds.image import View
from smvae_core.messages import ConversionError, ConversionOptions
from smvae_core.modality import Modality
from smvae_core.preprocessing import (
    Statistics,
    constant_channels,
    in_si,
    measure_statistics,
    normalise,
    prepare,
    raw_sample,
    restore,
)
from tests import buffers
from tests.declared import EVERY_KIND, JOINTS, POSE, SCAN

OPTIONS = ConversionOptions()


def camera(**options: Any) -> Modality:
    return Modality(name="c", kind="color_image", shape=(3, 64, 64), unit="1", options=options)


def depth(**options: Any) -> Modality:
    return Modality(name="d", kind="depth_image", shape=(1, 64, 64), unit="m", options=options)


@pytest.mark.parametrize("modality", EVERY_KIND, ids=lambda m: m.kind)
def test_every_kind_survives_json_and_prepares_its_own_example(modality: Modality):
    assert Modality.from_json(modality.to_json()) == modality
    prepared = prepare(modality, modality.example_sample())
    assert prepared.shape == modality.shape
    assert modality.example(3).shape == (3, *modality.shape)
    assert np.isfinite(modality.example(3)).all()
    statistics = measure_statistics(modality, prepared[None])
    x = normalise(modality, statistics, prepared)
    assert (x.shape, x.dtype) == (modality.shape, np.float32)
    si = in_si(modality, prepared)
    np.testing.assert_allclose(restore(modality, statistics, x), si, rtol=1e-5, atol=1e-5)
    assert modality.plausibility(modality.example_sample()) == ""
    again = prepare(modality, raw_sample(modality, prepared))
    np.testing.assert_allclose(again, prepared, atol=1e-6)


def test_a_kind_that_is_not_registered_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match=r"'smell' is not one of .*'depth_image'"):
        kinds.kind("smell")

    class Other(kinds.Kind):
        name = "scan"

    with pytest.raises(ConfigError, match="there is a kind 'scan' already"):
        kinds.register(Other())


def test_declarations_of_format_1_read_as_what_they_were():
    old = {"name": "force", "kind": "force_window", "shape": [6, 32], "unit": "N, N m"}
    force = Modality.from_json(old)
    assert (force.kind, force.options.rate_hz, force.options.below) == ("signal", 1000.0, "wrench")
    assert force.default_topic == "wrench"
    assert Modality.from_json({**old, "kind": "vector", "shape": [4]}).kind == "command"
    image = {"name": "d", "kind": "depth_image", "shape": [1, 64, 64], "unit": "m"}
    assert Modality.from_json(image).options.range_m == (1e-7, 2.0)
    assert Modality.from_json(image).options.fit == "stretch"


@pytest.mark.parametrize(
    ("options", "view"),
    [
        ({"fit": "stretch"}, View(0, 0, 480, 640)),
        ({"fit": "crop"}, View(0, 80, 480, 560)),
        ({"fit": "pad"}, View(-80, 0, 560, 640)),
        ({"fit": "crop", "crop": (100, 0, 200, 400)}, View(100, 150, 200, 250)),
        ({"fit": "stretch", "crop": (100, 0, 200, 400)}, View(100, 0, 200, 400)),
    ],
)
def test_what_part_of_a_camera_the_network_sees(options: dict[str, Any], view: View):
    modality = camera(**options)
    assert modality.family.view(modality, 480, 640) == view


def test_a_cropped_image_keeps_its_proportions_and_a_padded_one_its_margins():
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 80:560] = 200
    np.testing.assert_array_equal(prepare(camera(fit="crop"), image), 200)
    padded = prepare(camera(fit="pad"), image)
    assert not padded[:, :8].any()
    assert not padded[:, -8:].any()
    assert (padded[:, 10:54, 9:55] == 200).all()
    squeezed = prepare(camera(fit="stretch"), image)
    assert not squeezed[:, :, :7].any()


def test_a_crop_beyond_the_image_is_refused():
    with pytest.raises(SampleError, match=r"at least 700 x 10 pixels for the declared crop") as err:
        prepare(camera(crop=(0, 0, 700, 10)), np.zeros((480, 640, 3), np.uint8))
    assert err.value.reason == "size"
    cropped = camera(crop=(0, 0, 700, 10))
    with pytest.raises(SampleError, match="at least 700 x 10"):
        cropped.family.check_sample(cropped, np.zeros((480, 640, 3), np.uint8))


def test_height_and_width_may_differ():
    wide = Modality(name="c", kind="color_image", shape=(3, 64, 96), unit="1")
    assert prepare(wide, np.zeros((480, 640, 3), np.uint8)).shape == (3, 64, 96)
    assert wide.family.view(wide, 480, 640) == View(27, 0, 454, 640)


def test_depth_with_nothing_in_range_is_empty_and_much_cut_is_warned_of():
    near = depth(range_m=(0.05, 2.0))
    wall = np.full((48, 64), 2.5, np.float32)
    with pytest.raises(SampleError, match=r"between 0.05 and 2 m .* from 2.5 to 2.5 m") as err:
        prepare(near, wall)
    assert err.value.reason == "empty"
    with pytest.raises(SampleError, match=r"from 2\.5 to 2\.5 m"):
        near.family.check_sample(near, wall)
    large = np.full((480, 640), 2.5, np.float32)
    large[5, 101] = 1.0  # one pixel between those that are looked at first
    near.family.check_sample(near, large)
    wall[:24] = 1.0
    assert prepare(near, wall).any()
    assert "50% of the returns lie outside" in near.plausibility(wall)
    assert depth(range_m=(0.05, 3.0)).plausibility(wall) == ""


def test_a_channel_that_never_moved_has_the_floor_for_its_scale():
    command = next(m for m in EVERY_KIND if m.kind == "command")
    statistics = measure_statistics(command, np.full((10, 4), 0.5, np.float32))
    assert constant_channels(command, statistics) == list(command.fields)
    later = np.full(4, 0.5 + 0.1 * 0.05, np.float32)  # 0.1 rad/s for one step
    assert np.abs(normalise(command, statistics, later)).max() < 10.0
    moving = Statistics(mean=(0.0,) * 4, scale=(0.01, 0.01, 0.01, 1e-3))
    assert constant_channels(command, moving) == ["angular.z"]


def test_a_signal_is_read_from_any_message_with_its_fields():
    imu = Modality(
        name="imu",
        kind="signal",
        shape=(3, 16),
        unit="m/s2",
        fields=("linear_acceleration.x", "linear_acceleration.y", "linear_acceleration.z"),
        options={"rate_hz": 200.0},
        message_type="sensor_msgs/msg/Imu",
    )
    assert imu.family.span_s(imu) == pytest.approx(0.08)
    message = SimpleNamespace(linear_acceleration=SimpleNamespace(x=1.0, y=2.0, z=3.0))
    converter = imu.converter()
    assert converter.message_type == "sensor_msgs/msg/Imu"
    np.testing.assert_array_equal(converter.to_array(imu, message, OPTIONS), [1, 2, 3])
    window = np.arange(48, dtype=np.float32).reshape(16, 3)
    converter.fill(imu, message, window, 0, "", OPTIONS)
    assert message.linear_acceleration.z == 47.0  # the newest reading


def test_a_vector_takes_numbers_as_they_are():
    tail = Modality(
        name="v", kind="vector", shape=(2,), unit="1", fields=("data[1]", "data[2]"),
        message_type="std_msgs/msg/Float64MultiArray",
    )  # fmt: skip
    read = partial(buffers.convert, tail.converter())
    message = SimpleNamespace(data=array("d", [5.0, 6.0, 7.0]))
    np.testing.assert_array_equal(read(tail, message, OPTIONS), [6, 7])
    with pytest.raises(ConversionError, match=r"field: expected data\[2\]"):
        read(tail, SimpleNamespace(data=array("d", [1.0, 2.0])), OPTIONS)
    empty = SimpleNamespace(data=[])
    tail.converter().fill(tail, empty, np.array([6.0, 7.0]), 0, "", OPTIONS)
    assert empty.data == [0.0, 6.0, 7.0]
    with pytest.raises(ConfigError, match="has no message type of its own"):
        Modality(name="v", kind="vector", shape=(1,), unit="1").converter()
    assert POSE.message_types == ("geometry_msgs/msg/PoseStamped",)


def joint_message(names: list[str], **values: list[float]) -> SimpleNamespace:
    numbers = {"position": [], "velocity": [], "effort": []} | values
    return SimpleNamespace(name=names, **{k: array("d", v) for k, v in numbers.items()})


def test_joints_are_found_by_name_or_by_index_where_unnamed():
    read = partial(buffers.convert, JOINTS.converter())
    named = joint_message(["j2", "x", "j1"], position=[2.0, 9.0, 1.0], velocity=[20.0, 90.0, 10.0])
    np.testing.assert_array_equal(read(JOINTS, named, OPTIONS), [1, 2, 10, 20])
    unnamed = joint_message([], position=[1.0, 2.0], velocity=[10.0, 20.0])
    np.testing.assert_array_equal(read(JOINTS, unnamed, OPTIONS), [1, 2, 10, 20])
    with pytest.raises(ConversionError, match="field: expected joint 'j1' once"):
        read(JOINTS, joint_message(["j2"], position=[1.0], velocity=[1.0]), OPTIONS)
    with pytest.raises(ConversionError, match="size: expected 2 values of velocity"):
        read(JOINTS, joint_message(["j1", "j2"], position=[1.0, 2.0]), OPTIONS)


def test_a_beam_without_a_return_is_missing():
    ranges = np.full(128, 2.0, np.float32)
    ranges[:64] = np.inf
    ranges[64] = np.nan
    ranges[66], ranges[67] = 50.0, 0.01  # beyond the declared range, on both sides
    prepared = prepare(SCAN, ranges)
    assert prepared.shape == (2, 64)
    np.testing.assert_array_equal(prepared[1], [0] * 32 + [1, 0] + [1] * 30)
    np.testing.assert_array_equal(prepared[0], 2.0 * prepared[1])
    measured = SCAN.family.measured(SCAN, prepared)
    np.testing.assert_array_equal(measured[0], prepared[1] > 0)
    assert measured[1].all()
    assert "no beam has a return" in SCAN.plausibility(np.full(128, np.inf, np.float32))
    with pytest.raises(SampleError, match="at least 64 beams"):
        prepare(SCAN, np.ones(63, np.float32))


def test_a_scan_comes_back_from_its_message_with_the_chance_of_each_return():
    sample = np.stack([np.linspace(1.0, 5.0, 64), np.linspace(0.0, 1.0, 64)]).astype(np.float32)
    message = SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0)))
    SCAN.converter().fill(SCAN, message, sample, 7, "laser", OPTIONS)
    assert np.isinf(message.ranges[:32]).all()
    np.testing.assert_allclose(message.ranges[32:], sample[0, 32:])
    np.testing.assert_allclose(message.intensities, sample[1])
    got = buffers.convert(SCAN.converter(), SCAN, message, OPTIONS)
    np.testing.assert_array_equal(prepare(SCAN, got)[1], sample[1] >= 0.5)


ARM = Modality(
    name="arm", kind="joint_state", shape=(6,), unit="rad, rad/s, N m",
    options={"joints": ("j1", "j2"), "select": ("position", "velocity", "effort")},
)  # fmt: skip
GRIPPER = Modality(
    name="g", kind="joint_state", shape=(1,), unit="rad", options={"joints": ("finger",)}
)
TURNED = Modality(
    name="t", kind="vector", shape=(7,), unit="m, 1", message_type="geometry_msgs/msg/PoseStamped",
    fields=(*(f"pose.position.{a}" for a in "xyz"), *(f"pose.orientation.{a}" for a in "xyzw")),
)  # fmt: skip
SPEED = replace(POSE, unit="m/s", fields=tuple(f"twist.linear.{a}" for a in "xyz"))
PLAIN = replace(POSE, unit="1", fields=("data[0]", "data[1]", "data[2]"))


@pytest.mark.parametrize(
    ("modality", "sample", "odd"),
    [
        (ARM, [0.1, 0.2, 0, 0, 3, 4], ""),  # it stands
        (ARM, [0, 0, 0, 0, 3, 4], "every position is exactly 0: is the driver sending it?"),
        (ARM, [0.1, 0.2, 0, 0, 0, 0], "every effort is exactly 0: is the driver sending it?"),
        (ARM, [90, 0.2, 0, 0, 3, 4], "position 90 rad is beyond 12.5664: another unit?"),
        (ARM, [0.1, 0.2, 0, -200, 3, 4], "velocity 200 rad/s is beyond 100: another unit?"),
        (ARM, [0.1, 0.2, 0, 0, 3, 4e4], "effort 4e+04 N m is beyond 10000: another unit?"),
        (replace(ARM, unit="1"), [90, 90, 0, 0, 0, 0], ""),  # said to be no radians
        (GRIPPER, [0], ""),  # closed
        (POSE, [0.3, 0, 0], ""),
        (POSE, [0, 0, 0], "every position is exactly 0"),
        (SPEED, [0, 0, 0], ""),
        (SPEED, [400, 0, 0], "linear 400 m/s is beyond 100: another unit?"),
        (PLAIN, [0, 0, 0], ""),  # nobody knows what it is
        (PLAIN, [5e5, 0, 0], ""),
        (TURNED, [1, 2, 3, 0, 0, 0, 1], ""),
        (TURNED, [1, 2, 3, 0, 0, 0, 0], "orientation has norm 0, a rotation has 1"),
        (TURNED, [1, 2, 3, 0, 0, 0, 2], "orientation has norm 2, a rotation has 1"),
    ],
)
def test_what_looks_wrong_with_joints_and_numbers_is_said(
    modality: Modality, sample: list[float], odd: str
):
    got = modality.plausibility(np.float32(sample))
    assert got.startswith(odd) if odd else got == ""


@pytest.mark.parametrize("modality", [ARM, POSE], ids=lambda m: m.kind)
def test_joints_and_numbers_that_are_none_are_refused(modality: Modality):
    sample = np.ones(modality.shape, np.float32)
    sample[0] = np.nan
    with pytest.raises(SampleError, match="finite numbers"):
        prepare(modality, sample)


@pytest.mark.parametrize("kind", ["color_image", "depth_image"])
def test_an_example_of_a_camera_holds_the_declared_crop(kind: str) -> None:
    channels = {"color_image": 3, "depth_image": 1}[kind]
    modality = Modality(
        name="head",
        kind=kind,
        shape=(channels, 64, 64),
        unit="1",
        options={"crop": [0, 80, 480, 560]},
    )
    sample = modality.example_sample()
    assert sample.shape[:2] == (480, 560)
    assert modality.family.prepare(modality, sample).shape == modality.shape
