"""Raw images and tables: every encoding, padding, byte order, and every refusal. No ROS needed."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.messages import build, images
from smvae_core.errors import ConfigError
from smvae_core.kinds import kinds
from smvae_core.kinds.color_image import ACCEPTED
from smvae_core.messages import REASONS, ConversionError, ConversionOptions
from smvae_core.modality import require_messages
from smvae_core.presets import MNIST, VISION_TOUCH
from tests import buffers
from tests.declared import EVERY_KIND

RGB, DEPTH, FORCE, ACTION = VISION_TOUCH
OPTIONS = ConversionOptions()
PATTERNS = ("rggb", "bggr", "gbrg", "grbg")


def convert(modality: Any, message: Any, options: ConversionOptions = OPTIONS) -> Any:
    return buffers.convert(modality.converter(), modality, message, options)


def pixels(
    channels: int = 3, height: int = 4, width: int = 5, dtype: Any = np.uint8
) -> np.ndarray[Any, Any]:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 8])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["rgb", "bgr", "rgba", "bgra", "mono"])
def test_colour_encodings_become_rgb(order: str, bits: int, padding: int, big_endian: bool) -> None:
    raw = pixels({"mono": 1}.get(order, len(order)), dtype=f"u{bits // 8}")
    picked = raw[:, :, None].repeat(3, 2) if order == "mono" else raw
    if order != "mono":
        picked = raw[:, :, [order.index(c) for c in "rgb"]]
    expected = np.rint(picked / 257).astype(np.uint8) if bits == 16 else picked
    got = convert(RGB, build.image(raw, f"{order}{bits}", padding=padding, big_endian=big_endian))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


def test_sixteen_bits_keep_black_and_white() -> None:
    raw = np.array([[0, 128, 129, 32896, 65406, 65535]], np.uint16)
    got = convert(RGB, build.image(raw, "mono16"))
    np.testing.assert_array_equal(got[0, :, 0], [0, 0, 1, 128, 254, 255])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_bayer_patterns_recover_a_plain_colour(pattern: str, bits: int) -> None:
    colour = {"r": 200, "g": 100, "b": 50}
    raw = np.zeros((8, 8), f"u{bits // 8}")
    for index, letter in enumerate(pattern):
        raw[index // 2 :: 2, index % 2 :: 2] = colour[letter] * (257 if bits == 16 else 1)
    got = convert(RGB, build.image(raw, f"bayer_{pattern}{bits}"))
    np.testing.assert_array_equal(got, np.broadcast_to([200, 100, 50], (8, 8, 3)))


@pytest.mark.parametrize("shape", [(3, 3), (4, 7), (6, 70)])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_bayer_patterns_are_interpolated(pattern: str, bits: int, shape: tuple[int, int]) -> None:
    raw = pixels(1, *shape, dtype=f"u{bits // 8}")
    expected = images.eight_bits(images.demosaic(raw.astype(np.int64), pattern), bits)
    got = convert(RGB, build.image(raw, f"bayer_{pattern}{bits}", padding=2))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuyv", "yuyv"), ("yuv422_yuy2", "yuyv")],
)
def test_yuv_pairs_become_known_colours(encoding: str, order: str) -> None:
    known = {  # BT.601: (Y, U, V) -> RGB
        (16, 128, 128): (0, 0, 0),
        (235, 128, 128): (255, 255, 255),
        (126, 128, 128): (128, 128, 128),
        (81, 90, 240): (254, 0, 0),
        (145, 54, 34): (0, 255, 1),
        (41, 240, 110): (0, 0, 255),
    }
    bytes_of = [[(y, u, v)["yuv".index(c)] for c in order] for y, u, v in known]
    raw = np.array([[pair[:2], pair[2:]] for pair in bytes_of], np.uint8).reshape(1, -1, 2)
    got = convert(RGB, build.image(raw, encoding, padding=2)).reshape(-1, 2, 3)
    for (left, right), expected in zip(got.astype(int), known.values(), strict=True):
        assert np.abs(left - expected).max() <= 1
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "nv24"])
def test_planes_of_brightness_and_colour_become_known_colours(encoding: str, padding: int) -> None:
    known = {  # BT.601: (Y, U, V) -> RGB
        (16, 128, 128): (0, 0, 0),
        (126, 128, 128): (128, 128, 128),
        (81, 90, 240): (254, 0, 0),
        (145, 54, 34): (0, 255, 1),
        (41, 240, 110): (0, 0, 255),
    }
    yuv = np.array([list(known)], np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    got = convert(RGB, build.planar_image(yuv, encoding, padding=padding))
    assert got.dtype == np.uint8
    expected = np.array([list(known.values())]).repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_every_pixel_of_nv24_has_its_own_colour() -> None:
    yuv = pixels(3, 4, 7)
    got = convert(RGB, build.planar_image(yuv, "nv24"))
    for y, x in np.ndindex(4, 7):
        alone = build.planar_image(yuv[y : y + 1, x : x + 1], "nv24")
        np.testing.assert_array_equal(got[y, x], convert(RGB, alone)[0, 0])


@pytest.mark.parametrize(
    ("encoding", "change", "reason"),
    [
        ("nv12", {"width": 3}, "size"),
        ("nv21", {"height": 3}, "size"),
        ("nv24", {"width": 0}, "size"),
        ("nv12", {"step": 3}, "step"),
        ("nv12", {"step": 6}, "size"),
        ("nv24", {"data": bytes(47)}, "size"),
        ("nv21", {"data": None}, "field"),
    ],
)
def test_a_malformed_planar_image_is_refused_with_its_reason(
    encoding: str, change: dict[str, Any], reason: str
) -> None:
    message = build.planar_image(pixels(3, 4, 4), encoding)
    vars(message).update(change)
    with pytest.raises(ConversionError) as bad:
        convert(RGB, message)
    assert bad.value.reason == reason


def test_generic_encodings_are_read_where_they_can_mean_one_thing_only() -> None:
    grey = pixels(1)
    np.testing.assert_array_equal(
        convert(RGB, build.image(grey, "8UC1")), convert(RGB, build.image(grey, "mono8"))
    )
    with pytest.raises(ConversionError, match="names the order of its channels") as bad:
        convert(RGB, build.image(pixels(), "8UC3"))
    assert bad.value.reason == "encoding"
    for encoding in ("16UC1", "32FC1"):
        with pytest.raises(ConversionError, match="rgb: encoding: expected one of rgb8, bgr8"):
            convert(RGB, build.image(grey, encoding))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 2, 6])
@pytest.mark.parametrize("encoding", ["32FC1", "16UC1", "mono16"])
def test_depth_encodings_become_metres(encoding: str, padding: int, big_endian: bool) -> None:
    metres = np.linspace(0.1, 1.5, 20, dtype=np.float32).reshape(4, 5)
    raw = metres if encoding == "32FC1" else np.rint(metres * 1000).astype(np.uint16)
    got = convert(DEPTH, build.image(raw, encoding, padding=padding, big_endian=big_endian))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, metres, atol=5e-4)


def test_depth_scale_overrides_the_encoding_and_no_return_stays() -> None:
    raw = np.array([[0, 10], [20, 30]], np.uint16)
    got = convert(DEPTH, build.image(raw, "16UC1"), ConversionOptions(depth_scale=0.01))
    np.testing.assert_allclose(got, raw * 0.01, rtol=1e-6)
    holes = np.array([[np.nan, 0.0], [np.inf, 0.5]], np.float32)
    np.testing.assert_array_equal(convert(DEPTH, build.image(holes, "32FC1")), holes)


@pytest.mark.parametrize(
    ("encoding", "change", "reason"),
    [
        ("rgb8", {"encoding": "32FC1"}, "encoding"),
        ("rgb8", {"encoding": ""}, "encoding"),
        ("rgb8", {"encoding": None}, "field"),
        ("rgb8", {"width": 0}, "size"),
        ("rgb8", {"width": 1.5}, "field"),
        ("rgb8", {"width": 2**32 - 1, "height": 2**32 - 1}, "step"),
        ("rgb8", {"height": -1}, "size"),
        ("rgb8", {"height": 5}, "size"),
        ("rgb8", {"data": b""}, "size"),
        ("rgb8", {"data": [1, 2, 3]}, "size"),
        ("rgb8", {"data": [0] * 59 + [256]}, "field"),
        ("rgb8", {"data": array("d", [0.0] * 60)}, "field"),
        ("rgb8", {"data": np.uint8(0)}, "field"),
        ("rgb8", {"data": None}, "field"),
        ("rgb8", {"step": 11}, "step"),
        ("yuv422", {"width": 3, "step": 8}, "size"),
        ("bayer_rggb8", {"width": 2}, "size"),
        ("bayer_rggb16", {"height": 2, "data": bytes(20)}, "size"),
    ],
)
def test_a_malformed_image_is_refused_with_its_reason(
    encoding: str, change: dict[str, Any], reason: str
) -> None:
    message = build.image(pixels({"yuv422": 2}.get(encoding, 3), width=4), encoding)
    vars(message).update(change)
    with pytest.raises(ConversionError, match=f"rgb: {reason}: expected .*, got ") as caught:
        convert(RGB, message)
    assert caught.value.reason == reason


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuyv", "yuv422_yuy2"])
def test_an_odd_width_of_paired_pixels_is_named(encoding: str) -> None:
    message = build.image(pixels(2, width=5), encoding)
    with pytest.raises(ConversionError, match=f"an even width, since {encoding} pixels .* 5 x 4"):
        convert(RGB, message)


@pytest.mark.parametrize("member", ["encoding", "width", "step", "data", "is_bigendian"])
def test_a_message_without_a_field_is_refused(member: str) -> None:
    message = build.image(pixels(), "rgb8")
    delattr(message, member)
    with pytest.raises(ConversionError, match=f"rgb: field: expected a message with {member}"):
        convert(RGB, message)


def test_only_documented_reasons_exist() -> None:
    assert "unknown" not in REASONS
    with pytest.raises(AssertionError, match="unknown"):
        ConversionError("rgb", "unknown", expected="", got="")


@pytest.mark.parametrize("modality", [RGB, DEPTH], ids=lambda m: m.name)
def test_an_image_survives_the_way_there_and_back(modality: Any) -> None:
    sample = modality.example_sample()
    empty = SimpleNamespace(header=build.header())
    message = modality.converter().fill(
        modality, empty, sample, 7_000_000_009, "camera_optical", OPTIONS
    )
    assert isinstance(message.data, array)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (7, 9)
    assert message.header.frame_id == "camera_optical"
    np.testing.assert_array_equal(convert(modality, message), sample)


@pytest.mark.parametrize(
    "option", [{"depth_scale": -1.0}, {"step_time_s": 0.0}, {"joint_names": ("a", "a")}]
)
def test_impossible_options_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        ConversionOptions(**option)


def test_every_kind_has_a_conversion_for_every_type_it_names() -> None:
    assert {m.kind for m in EVERY_KIND} == {kind.name for kind in kinds()}
    carried = [m for m in EVERY_KIND if m.message_types]
    assert carried == [*VISION_TOUCH, *EVERY_KIND[4:7]]
    for modality in carried:
        types = modality.message_types
        assert modality.converter() == modality.converter(types[0])
        assert [modality.converter(t).message_type for t in types] == list(types)


def test_a_type_that_a_kind_is_not_read_from_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"read from sensor_msgs/msg/Image, .* Did you mean"):
        RGB.converter("sensor_msgs/Image")
    with pytest.raises(ConfigError, match="no sensor message carries a label"):
        MNIST[1].converter()


def test_a_model_whose_modality_no_message_carries_is_refused() -> None:
    require_messages(VISION_TOUCH)
    with pytest.raises(ConfigError, match="'label': no sensor message carries a label"):
        require_messages((RGB, MNIST[1]))


def test_every_encoding_of_a_colour_camera_is_tested_here() -> None:
    packed = {f"{o}{b}" for o in ("rgb", "bgr", "rgba", "bgra", "mono") for b in (8, 16)}
    bayer = {f"bayer_{p}{b}" for p in PATTERNS for b in (8, 16)}
    planar = {"nv12", "nv21", "nv24"}
    pairs = {"yuv422", "uyvy", "yuyv", "yuv422_yuy2"}
    assert set(ACCEPTED) == packed | bayer | planar | pairs | {"8UC1"}
