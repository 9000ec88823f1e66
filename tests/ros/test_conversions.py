"""Messages <-> SI arrays: every encoding, padding, byte order, and every refusal. No ROS needed."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smvae_core.conversions import (
    CONVERTERS,
    ConversionError,
    ConversionOptions,
    image_data,
    require_converters,
)
from smvae_core.conversions.color_image import ACCEPTED
from smvae_core.errors import ConfigError, MissingDependency, SMVAEError
from smvae_core.modality import MNIST, VISION_TOUCH

RGB, DEPTH, FORCE, ACTION = VISION_TOUCH
OPTIONS = ConversionOptions()


def header(seconds: int = 1, nanoseconds: int = 2) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id="")


def image(
    pixels: np.ndarray[Any, Any], encoding: str, *, padding: int = 0, big_endian: bool = False
) -> SimpleNamespace:
    """Return a message-like image; `padding` bytes of 0xAA follow each row."""
    height = pixels.shape[0]
    if big_endian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.ascontiguousarray(pixels).reshape(height, -1).view(np.uint8)
    padded = np.full((height, rows.shape[1] + padding), 0xAA, np.uint8)
    padded[:, : rows.shape[1]] = rows
    return SimpleNamespace(
        header=header(),
        height=height,
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=padded.shape[1],
        data=array("B", padded.tobytes()),
    )


def convert(modality: Any, message: Any, options: ConversionOptions = OPTIONS) -> Any:
    return CONVERTERS[modality.kind].to_array(modality, message, options)


def pixels(channels: int = 3, height: int = 4, width: int = 5) -> np.ndarray[Any, Any]:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("padding", [0, 1, 7])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_colour_encodings_become_rgb(encoding: str, padding: int) -> None:
    raw = pixels({"mono8": 1}.get(encoding, 4 if "a" in encoding else 3))
    expected = {
        "rgb8": lambda: raw,
        "bgr8": lambda: raw[:, :, ::-1],
        "rgba8": lambda: raw[:, :, :3],
        "bgra8": lambda: raw[:, :, 2::-1],
        "mono8": lambda: np.repeat(raw[:, :, None], 3, axis=2),
    }[encoding]()
    got = convert(RGB, image(raw, encoding, padding=padding))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_recover_a_plain_colour(pattern: str) -> None:
    colour = {"r": 200, "g": 100, "b": 50}
    raw = np.zeros((8, 8), np.uint8)
    for index, letter in enumerate(pattern):
        raw[index // 2 :: 2, index % 2 :: 2] = colour[letter]
    got = convert(RGB, image(raw, f"bayer_{pattern}8"))
    np.testing.assert_array_equal(got[4, 4], [200, 100, 50])


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 2, 6])
@pytest.mark.parametrize("encoding", ["32FC1", "16UC1", "mono16"])
def test_depth_encodings_become_metres(encoding: str, padding: int, big_endian: bool) -> None:
    metres = np.linspace(0.1, 1.5, 20, dtype=np.float32).reshape(4, 5)
    raw = metres if encoding == "32FC1" else np.rint(metres * 1000).astype(np.uint16)
    got = convert(DEPTH, image(raw, encoding, padding=padding, big_endian=big_endian))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, metres, atol=5e-4)


def test_depth_scale_overrides_the_encoding_and_no_return_stays() -> None:
    raw = np.array([[0, 10], [20, 30]], np.uint16)
    got = convert(DEPTH, image(raw, "16UC1"), ConversionOptions(depth_scale=0.01))
    np.testing.assert_allclose(got, raw * 0.01, rtol=1e-6)
    holes = np.array([[np.nan, 0.0], [np.inf, 0.5]], np.float32)
    np.testing.assert_array_equal(convert(DEPTH, image(holes, "32FC1")), holes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "32FC1"}, "encoding"),
        ({"encoding": ""}, "encoding"),
        ({"width": 0}, "size"),
        ({"height": -1}, "size"),
        ({"height": 5}, "size"),
        ({"data": b""}, "size"),
        ({"step": 14}, "step"),
    ],
)
def test_a_malformed_image_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    message = image(pixels(), "rgb8")
    vars(message).update(change)
    with pytest.raises(ConversionError, match=f"rgb: {reason}: expected .*, got ") as caught:
        convert(RGB, message)
    assert caught.value.reason == reason


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(-1, 6),
    width=st.integers(-1, 6),
    step=st.integers(-1, 40),
    size=st.integers(0, 200),
    encoding=st.sampled_from([*ACCEPTED, "16UC1", "32FC1", "mono16", "nonsense"]),
    big_endian=st.booleans(),
)
def test_any_header_gives_an_image_or_a_conversion_error(
    height: int, width: int, step: int, size: int, encoding: str, big_endian: bool
) -> None:
    message = SimpleNamespace(
        height=height,
        width=width,
        step=step,
        encoding=encoding,
        is_bigendian=int(big_endian),
        data=bytes(size),
        header=header(),
    )
    for modality in (RGB, DEPTH):
        try:
            got = convert(modality, message)
        except SMVAEError:
            continue
        assert got.shape[:2] == (height, width)


@pytest.mark.parametrize("modality", [RGB, DEPTH], ids=lambda m: m.name)
def test_an_image_survives_the_way_there_and_back(modality: Any) -> None:
    sample = modality.example_sample()
    empty = SimpleNamespace(header=header())
    message = CONVERTERS[modality.kind].fill(
        modality, empty, sample, 7_000_000_009, "camera_optical", OPTIONS
    )
    assert isinstance(message.data, array)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (7, 9)
    assert message.header.frame_id == "camera_optical"
    np.testing.assert_array_equal(convert(modality, message), sample)


def vector3(x: float, y: float, z: float) -> SimpleNamespace:
    return SimpleNamespace(x=x, y=y, z=z)


def test_a_wrench_becomes_six_numbers_in_declared_order() -> None:
    wrench = SimpleNamespace(force=vector3(1, 2, 3), torque=vector3(4, 5, 6))
    message = SimpleNamespace(header=header(), wrench=wrench)
    np.testing.assert_array_equal(convert(FORCE, message), [1, 2, 3, 4, 5, 6])
    wrench.torque.y = float("nan")
    with pytest.raises(ConversionError, match=r"force: nan: .* got torque\.y"):
        convert(FORCE, message)


def test_a_twist_becomes_a_displacement_and_back() -> None:
    twist = SimpleNamespace(linear=vector3(0.1, 0.2, -0.3), angular=vector3(9.0, 9.0, 0.4))
    message = SimpleNamespace(header=header(), twist=twist)
    displacement = convert(ACTION, message)
    np.testing.assert_allclose(displacement, [0.005, 0.01, -0.015, 0.02], rtol=1e-6)
    slow = convert(ACTION, message, ConversionOptions(step_time_s=0.1))
    np.testing.assert_allclose(slow, 2 * displacement, rtol=1e-6)
    back = SimpleNamespace(
        header=header(),
        twist=SimpleNamespace(linear=vector3(0, 0, 0), angular=vector3(0, 0, 0)),
    )
    CONVERTERS["vector"].fill(ACTION, back, displacement, 0, "tool", OPTIONS)
    assert back.twist.linear.z == pytest.approx(-0.3)
    assert back.twist.angular.z == pytest.approx(0.4)
    del message.twist.angular
    with pytest.raises(ConversionError, match=r"action: field: expected angular\.z"):
        convert(ACTION, message)


@pytest.mark.parametrize("option", [{"depth_scale": -1.0}, {"step_time_s": 0.0}])
def test_impossible_options_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        ConversionOptions(**option)


def test_a_decoder_that_misreads_fails_the_self_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(message: Any, wanted: str) -> Any:
        return np.zeros((message.height, message.width, 3), np.uint8)

    with pytest.raises(ValueError, match="came back wrong"):
        image_data.self_check(wrong)
    monkeypatch.setattr(image_data, "_load_cv_bridge", lambda: wrong)
    image_data.decoder.cache_clear()
    try:
        assert image_data.decoder()[0] == "rosbags-image"
    finally:
        image_data.decoder.cache_clear()


def test_a_good_cv_bridge_is_used_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = image_data._load_rosbags()
    monkeypatch.setattr(image_data, "_load_cv_bridge", lambda: reference)
    image_data.decoder.cache_clear()
    try:
        assert image_data.decoder()[0] == "cv_bridge"
    finally:
        image_data.decoder.cache_clear()


def test_no_decoder_at_all_gives_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ImportError("no such module")

    monkeypatch.setattr(image_data, "_load_cv_bridge", missing)
    monkeypatch.setattr(image_data, "_load_rosbags", missing)
    image_data.decoder.cache_clear()
    try:
        with pytest.raises(MissingDependency, match="rosbags-image is not installed"):
            image_data.decoder()
    finally:
        image_data.decoder.cache_clear()


def test_every_kind_has_a_conversion() -> None:
    assert {m.kind for m in VISION_TOUCH} == set(CONVERTERS)


def test_a_model_whose_modality_no_message_carries_is_refused():
    require_converters(VISION_TOUCH)
    with pytest.raises(ConfigError, match="'label': no sensor message carries a label"):
        require_converters((RGB, MNIST[1]))
