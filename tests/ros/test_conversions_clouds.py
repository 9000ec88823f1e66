"""Organised point clouds are depth images; lists of points, and every other layout, are refused."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from benchmarks.messages import build
from smvae_core.messages import ConversionError, ConversionOptions, organised_cloud
from smvae_core.presets import VISION_TOUCH
from tests import buffers

DEPTH = VISION_TOUCH[1]
OPTIONS = ConversionOptions()


def convert(message: Any, options: ConversionOptions = OPTIONS) -> Any:
    converter = DEPTH.converter("sensor_msgs/msg/PointCloud2")
    return buffers.convert(converter, DEPTH, message, options)


def z(dtype: str = "f4") -> Any:
    values = np.linspace(0.3, 2.0, 12).reshape(3, 4).astype(dtype)
    values[0, :3] = np.nan, 0.0, np.inf
    return values


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("gap", [0, 4, 5, 20])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_depth_is_z_in_rows_and_columns(
    dtype: str, gap: int, padding: int, big_endian: bool
) -> None:
    message = build.cloud(z(dtype), gap=gap, padding=padding, big_endian=big_endian)
    before = bytes(message.data)
    got = convert(message)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, z(dtype).astype(np.float32))
    assert bytes(message.data) == before


def test_a_cloud_in_millimetres_is_scaled_by_the_option() -> None:
    got = convert(build.cloud(1000 * z()), ConversionOptions(depth_scale=0.001))
    np.testing.assert_allclose(got, z(), rtol=1e-6)


def test_fields_in_another_order_and_a_count_of_zero_are_read() -> None:
    message = build.cloud(z())
    message.fields = message.fields[::-1]
    message.fields[1].count = 0
    np.testing.assert_array_equal(convert(message), z())


def test_a_list_of_points_is_refused_as_not_organised() -> None:
    message = build.cloud(z().reshape(1, -1))
    with pytest.raises(ConversionError, match="a list of 12 points") as caught:
        convert(message)
    assert caught.value.reason == "organised"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"width": 0}, "size"),
        ({"height": 0}, "size"),
        ({"height": 4}, "size"),
        ({"width": 2**32 - 1, "height": 2**32 - 1}, "step"),
        ({"data": b""}, "size"),
        ({"data": None}, "field"),
        ({"row_step": 63}, "step"),
        ({"row_step": 65}, "size"),
        ({"point_step": 11}, "field"),
        ({"point_step": 0}, "field"),
        ({"point_step": 17}, "step"),
        ({"point_step": "16"}, "field"),
        ({"fields": []}, "field"),
        ({"fields": None}, "field"),
        ({"fields": [build.point_field("x", 0, 7)]}, "field"),
        ({"fields": [build.point_field("z", 8, 7), build.point_field("z", 0, 7)]}, "field"),
        ({"fields": [build.point_field("z", 8, 2)]}, "field"),
        ({"fields": [build.point_field("z", 8, 99)]}, "field"),
        ({"fields": [build.point_field("z", 13, 7)]}, "field"),
        ({"fields": [build.point_field("z", 12, 8)]}, "field"),
        ({"fields": [build.point_field("z", 2**32 - 1, 7)]}, "field"),
        ({"fields": [build.point_field("z", 8, 7, count=3)]}, "field"),
    ],
)
def test_a_malformed_cloud_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    message = build.cloud(z())
    vars(message).update(change)
    with pytest.raises(ConversionError, match=f"depth: {reason}: expected .*, got ") as caught:
        convert(message)
    assert caught.value.reason == reason


def test_a_reader_that_misreads_is_not_used_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def transposed(cloud: Any) -> Any:
        return organised_cloud.read_numpy(cloud).T

    monkeypatch.setattr(organised_cloud, "load_sensor_msgs_py", lambda: transposed)
    organised_cloud.reader.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            np.testing.assert_array_equal(convert(build.cloud(z())), z())
            np.testing.assert_array_equal(convert(build.cloud(z())), z())
        assert organised_cloud.reader()[0] == "numpy"
    finally:
        organised_cloud.reader.cache_clear()
    assert caplog.text.count("sensor_msgs_py fails its self-check") == 1


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_sensor_msgs_py_gives_the_same_arrays(dtype: str, big_endian: bool) -> None:
    pytest.importorskip("sensor_msgs_py", reason="sensor_msgs_py is in no wheel")
    read = organised_cloud.load_sensor_msgs_py()
    organised_cloud.self_check(read)
    for gap, padding in ((0, 0), (4, 0), (5, 3), (20, 1)):
        message = build.cloud(z(dtype), gap=gap, padding=padding, big_endian=big_endian)
        plain = organised_cloud.plain("depth", message)
        np.testing.assert_array_equal(read(plain), organised_cloud.read_numpy(plain))
