"""JPEG, PNG and compressedDepth: the same arrays as raw images, and every kind of damage named.

PNGs and compressedDepth come from writers of the tests' own, made from the published formats.
"""

from __future__ import annotations

import os
import struct
import zlib
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.messages import build, files, images
from smvae_core.errors import ConfigError
from smvae_core.messages import ConversionError, ConversionOptions, decoder_words
from smvae_core.messages.image_file import MAX_PIXELS
from smvae_core.presets import VISION_TOUCH
from tests import buffers

RGB, DEPTH, _, _ = VISION_TOUCH
OPTIONS = ConversionOptions()
TYPE = "sensor_msgs/msg/CompressedImage"


def convert(modality: Any, message: Any, options: ConversionOptions = OPTIONS) -> Any:
    return buffers.convert(modality.converter(TYPE), modality, message, options)


def reason(modality: Any, message: Any) -> str:
    """Return the reason of a refusal, whose text names modality and reason."""
    with pytest.raises(ConversionError, match=f"^{modality.name}: ") as caught:
        convert(modality, message)
    return caught.value.reason


def levels(dtype: Any, *shape: int) -> Any:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("said", ["png", "rgb8; png compressed bgr8", "PNG"])
def test_a_png_keeps_every_pixel(said: str, filters: tuple[int, ...]) -> None:
    rgb = levels(np.uint8, 5, 6, 3)
    message = build.compressed(files.write_png(rgb, filters), said)
    np.testing.assert_array_equal(convert(RGB, message), rgb)


def test_pngs_of_other_depths_and_channels_become_rgb() -> None:
    wide, grey = levels(np.uint16, 5, 6, 3), levels(np.uint16, 5, 6)
    eight = np.rint(wide / 257).astype(np.uint8)
    got = convert(RGB, build.compressed(files.write_png(wide), "bgr16; png compressed bgr16"))
    np.testing.assert_array_equal(got, eight)
    got = convert(RGB, build.compressed(files.write_png(grey), "mono16; png compressed "))
    np.testing.assert_array_equal(got[:, :, 1], np.rint(grey / 257).astype(np.uint8))
    alpha = np.dstack([eight, levels(np.uint8, 5, 6)])
    np.testing.assert_array_equal(
        convert(RGB, build.compressed(files.write_png(alpha), "png")), eight
    )


def test_a_jpeg_is_near_what_was_compressed() -> None:
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    rgb = np.dstack([np.tile(ramp, (32, 1)), np.tile(ramp[:, None], 32), np.full((32, 32), 99)])
    rgb = rgb.astype(np.uint8)
    for said in ("jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bayer_rggb8; jpeg compressed bgr8"):
        got = convert(RGB, build.compressed(build.write_jpeg(rgb), said))
        assert got.dtype == np.uint8
        assert np.abs(got.astype(int) - rgb).mean() < 3
    grey = convert(RGB, build.compressed(build.write_jpeg(rgb[:, :, 0]), "mono8; jpeg compressed "))
    assert np.abs(grey.astype(int) - rgb[:, :, :1]).mean() < 3


def test_channels_swapped_before_compression_are_swapped_back_as_image_transport_does() -> None:
    rgb = levels(np.uint8, 4, 4, 3)
    swapped = files.write_png(np.ascontiguousarray(rgb[:, :, ::-1]))
    for said in ("rgb8; png compressed rgb8", "rgb8; png compressed "):
        np.testing.assert_array_equal(convert(RGB, build.compressed(swapped, said)), rgb)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_compressed_bayer_pattern_is_interpolated(bits: int) -> None:
    raw = levels(f"u{bits // 8}", 5, 6)
    message = build.compressed(files.write_png(raw), f"bayer_gbrg{bits}; png compressed ")
    expected = images.eight_bits(images.demosaic(raw.astype(np.int64), "gbrg"), bits)
    np.testing.assert_array_equal(convert(RGB, message), expected)
    small = build.compressed(files.write_png(raw[:2]), f"bayer_gbrg{bits}; png compressed ")
    assert reason(RGB, small) == "size"
    odd = build.compressed(files.write_png(raw), "bayer_abcd8; png compressed ")
    assert reason(RGB, odd) == "encoding"


def test_millimetres_keep_every_unit_by_both_transports() -> None:
    raw = levels(np.uint16, 5, 6)
    expected = raw.astype(np.float32) * np.float32(0.001)
    plain = [
        build.compressed(files.write_png(raw), f) for f in ("png", "16UC1; png compressed ", "PNG")
    ]
    for message in (build.compressed_millimetres(raw), *plain):
        got = convert(DEPTH, message)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected)
    doubled = convert(DEPTH, plain[0], ConversionOptions(depth_scale=0.002))
    np.testing.assert_allclose(doubled, 2 * expected, rtol=1e-6)


def test_the_header_of_millimetres_means_nothing_and_png_may_go_unsaid() -> None:
    raw = levels(np.uint16, 5, 6)
    data = build.depth_header(77, float("nan"), -1e30) + files.write_png(raw)
    got = convert(DEPTH, build.compressed(data, "16UC1; compressedDepth"))
    np.testing.assert_array_equal(got, raw * np.float32(0.001))


def test_inverse_depth_is_right_within_one_step_of_its_quantisation() -> None:
    metres = np.geomspace(0.2, 9.9, 30, dtype=np.float32).reshape(5, 6)
    metres[0, 0], metres[4, 5] = np.nan, 12.0  # beyond depth_max: no return
    got = convert(DEPTH, build.compressed_metres(metres))
    assert np.isnan(got[0, 0])
    assert np.isnan(got[4, 5])
    seen = np.isfinite(got)
    assert seen.sum() == 28
    step = metres[seen] ** 2 / (100.0 * 101.0)
    assert (got[seen] >= metres[seen]).all()  # the writer cuts off, which moves depth away
    assert (got[seen] - metres[seen] <= step * 1.02).all()


def test_inverse_depth_of_known_levels_is_known() -> None:
    q = np.array([[0, 1, 100], [2, 3, 65535]], np.uint16)
    data = build.depth_header(0, 10100.0, -1009.0) + files.write_png(q)
    got = convert(DEPTH, build.compressed(data, "32FC1; compressedDepth png"))
    expected = [[np.nan, 10.0, 10100 / 1109], [10100 / 1011, 10100 / 1012, 10100 / 66544]]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def depth_levels(kind: str) -> Any:
    """Return pixels (H, W) of which some are zero; the paper's writer has each of these cases."""
    rng = np.random.default_rng(5)
    if kind == "none":
        return np.zeros((9, 7), np.uint16)
    image = levels(np.uint16, 9, 7) if kind == "wild" else np.full((9, 7), 42, np.uint16)
    if kind == "smooth":
        image = (1000 + 3 * np.arange(63).reshape(9, 7) + rng.integers(-4, 5, (9, 7))).astype("u2")
    if kind != "full":
        image[rng.random((9, 7)) < 0.3] = 0
    return image


KINDS = ("full", "holes", "smooth", "wild")


@pytest.mark.parametrize("kind", KINDS)
def test_rvl_keeps_every_pixel(kind: str) -> None:
    raw = depth_levels(kind)
    data = build.depth_header() + files.write_rvl(raw)
    message = build.compressed(data + b"tail", "16UC1; compressedDepth rvl")
    np.testing.assert_array_equal(convert(DEPTH, message), raw * np.float32(0.001))


def test_rvl_of_an_image_without_a_return_is_empty() -> None:
    data = build.depth_header() + files.write_rvl(depth_levels("none"))
    assert reason(DEPTH, build.compressed(data, "16UC1; compressedDepth rvl")) == "empty"


def test_rvl_of_known_pixels_is_known() -> None:
    """0, 0, 5, 4 in 2 x 2: two zeros, two others, their differences 5 and -1 as 10 and 1."""
    stream = struct.pack("<I", 0x22A11000)  # 2, 2, 2 + 8 (1): nibbles 2, 1; then 1
    data = build.depth_header() + struct.pack("<II", 2, 2) + stream
    got = convert(DEPTH, build.compressed(data, "16UC1; compressedDepth rvl"))
    np.testing.assert_allclose(got, [[0.0, 0.0], [0.005, 0.004]], rtol=1e-6)


def test_inverse_depth_may_be_packed_as_rvl() -> None:
    q = np.array([[0, 1, 100], [2, 3, 65535]], np.uint16)
    header = build.depth_header(0, 10100.0, -1009.0)
    png, rvl = (
        convert(DEPTH, build.compressed(header + packed, f"32FC1; compressedDepth {name}"))
        for packed, name in ((files.write_png(q), "png"), (files.write_rvl(q), "rvl"))
    )
    np.testing.assert_array_equal(png, rvl)


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_rvl_that_is_cut_anywhere_is_refused(kind: str) -> None:
    whole = files.write_rvl(depth_levels(kind))
    for length in range(len(whole)):
        data = build.depth_header() + whole[:length]
        message = build.compressed(data, "16UC1; compressedDepth rvl")
        assert reason(DEPTH, message) == "decode"


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (struct.pack("<IIII", 0, 4, 0, 0), "size"),
        (struct.pack("<IIII", 2**31, 2**31, 0, 0), "size"),
        (struct.pack("<II", 2, 2) + bytes(4000), "decode"),  # runs of nothing, for ever
        (struct.pack("<IIII", 2, 2, 0x70000000, 0), "decode"),  # more zeros than pixels
        (struct.pack("<II", 2, 2) + b"\xff" * 400, "decode"),  # a number without end
        (struct.pack("<IIIII", 2, 2, 0x04FFFFFF, 0xFFFFFF70, 0), "decode"),  # one of 42 bits
    ],
)
def test_rvl_that_no_writer_makes_is_refused(stream: bytes, expected: str) -> None:
    message = build.compressed(build.depth_header() + stream, "16UC1; compressedDepth rvl")
    assert reason(DEPTH, message) == expected


@pytest.mark.parametrize("modality", [RGB, DEPTH], ids=lambda m: m.name)
def test_a_filled_message_comes_back(modality: Any) -> None:
    sample = modality.example_sample()
    empty = SimpleNamespace(header=build.header())
    convert_type = modality.converter(TYPE)
    message = convert_type.fill(modality, empty, sample, 5_000_000_001, "optical", OPTIONS)
    assert message.header.stamp.nanosec == 1
    got = convert(modality, message)
    if modality is RGB:
        np.testing.assert_array_equal(got, sample)
    else:
        assert np.abs(got - sample).max() < 1e-4
        sample[0, 0], sample[1, 1] = 0.05, np.inf  # out of the quantisation's reach
        convert_type.fill(modality, empty, sample, 0, "", OPTIONS)
        assert np.isnan(convert(modality, empty)[[0, 1], [0, 1]]).all()


@pytest.mark.parametrize(
    "said", ["", "h264", "theora", ";", "rgb8; ", "16UC1; compressedDepth lz4"]
)
def test_an_unread_codec_is_refused_by_its_name(said: str) -> None:
    for modality in (RGB, DEPTH):
        assert reason(modality, build.compressed(b"1234", said)) == "format"


def test_a_codec_that_cannot_carry_the_modality_is_refused() -> None:
    png, jpeg = files.write_png(levels(np.uint8, 4, 4)), build.write_jpeg(levels(np.uint8, 4, 4, 3))
    assert reason(RGB, build.compressed(png, "16UC1; compressedDepth png")) == "format"
    assert reason(DEPTH, build.compressed(jpeg, "jpeg")) == "format"
    assert reason(DEPTH, build.compressed(png, "png")) == "encoding"  # 8 bits hold no depth
    assert reason(DEPTH, build.compressed(png, "8UC1; png compressed ")) == "encoding"
    assert reason(DEPTH, build.compressed(png, "32FC1; png compressed ")) == "encoding"


def test_data_of_another_codec_than_said_are_refused() -> None:
    png, jpeg = files.write_png(levels(np.uint8, 4, 4)), build.write_jpeg(levels(np.uint8, 4, 4, 3))
    assert reason(RGB, build.compressed(png, "jpeg")) == "format"
    assert reason(RGB, build.compressed(jpeg, "rgb8; png compressed bgr8")) == "format"


@pytest.mark.parametrize("codec", ["jpeg", "png"])
def test_a_truncated_file_is_refused_wherever_it_ends(codec: str) -> None:
    rgb = levels(np.uint8, 9, 11, 3)
    data = build.write_jpeg(rgb) if codec == "jpeg" else files.write_png(rgb)
    for length in range(len(data)):
        assert reason(RGB, build.compressed(data[:length], codec)) == "decode", length
    assert convert(RGB, build.compressed(data + b"\0" * 7, codec)).shape == (9, 11, 3)


@pytest.mark.parametrize(
    "tail", [b"\r\n", bytes(range(1, 97)), b"\xff" * 16, b"\xff\xd9", b"\0\0x"]
)
@pytest.mark.parametrize("codec", ["jpeg", "png", "compressedDepth"])
def test_what_a_camera_leaves_behind_the_end_of_a_file_is_ignored(codec: str, tail: bytes) -> None:
    rgb = levels(np.uint8, 9, 11, 3)
    modality, said, data = RGB, codec, build.write_jpeg(rgb)
    if codec == "png":
        data = files.write_png(rgb)
    elif codec == "compressedDepth":
        modality, said = DEPTH, "16UC1; compressedDepth png"
        data = bytes(12) + files.write_png(levels(np.uint16, 9, 11))
    expected = convert(modality, build.compressed(data, said))
    found = convert(modality, build.compressed(data + tail, said))
    np.testing.assert_array_equal(found, expected)


def test_a_jpeg_ends_where_its_own_end_is_and_not_in_a_thumbnail_or_between_scans() -> None:
    """EXIF holds a whole small JPEG, a progressive one has several scans, fill bytes may come."""
    rgb = levels(np.uint8, 24, 40, 3)
    thumb = build.write_jpeg(levels(np.uint8, 8, 8, 3))
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 1]
    plain = bytes(cv2.imencode(".jpg", rgb, flags)[1])
    assert plain.count(b"\xff\xda") > 3
    assert b"\xff\xd0" in plain
    exif = b"\xff\xe1" + (2 + len(thumb)).to_bytes(2, "big") + thumb
    data = plain[:2] + exif + b"\xff\xff" + plain[2:]
    expected = convert(RGB, build.compressed(plain, "jpeg"))
    np.testing.assert_array_equal(convert(RGB, build.compressed(data, "jpeg")), expected)
    for length in range(2, len(data)):
        assert reason(RGB, build.compressed(data[:length], "jpeg")) == "decode", length


def test_what_the_decoder_prints_is_counted_and_not_repeated(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Libjpeg writes to standard error by itself, once per image; others' lines still arrive."""
    jpeg = build.write_jpeg(levels(np.uint8, 24, 40, 3))
    odd = build.compressed(jpeg[:-2] + bytes(16) + jpeg[-2:], "jpeg")
    decoder_words.counts.clear()
    for _ in range(30):
        RGB.converter(TYPE).to_array(RGB, odd, OPTIONS)
    with decoder_words.quiet("rgb"):
        os.write(2, b"somebody else\n")
    assert capfd.readouterr().err == "somebody else\n"
    assert list(decoder_words.counts.values()) == [30]
    assert [r.getMessage() for r in caplog.records] == [
        "rgb: the decoder says 'Corrupt JPEG data: 15 extraneous bytes before marker 0xd9' "
        f"(image {number} of this kind)"
        for number in (1, 10)
    ]


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = bytearray(files.write_png(levels(np.uint16, 4, 5)))
    for place in range(8, len(data)):
        data[place] ^= 0x10
        assert reason(DEPTH, build.compressed(bytes(data), "png")) in ("decode", "size")
        data[place] ^= 0x10


def test_a_header_that_asks_for_gigabytes_is_refused_before_any_is_taken() -> None:
    head = b"IHDR" + (65536).to_bytes(4, "big") * 2 + bytes([16, 0, 0, 0, 0])
    assert MAX_PIXELS < 65536**2
    chunk = (13).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big")
    data = files.PNG_START + chunk + files.chunk(b"IDAT", zlib.compress(bytes(100)))
    data += files.chunk(b"IEND", b"")
    assert reason(DEPTH, build.compressed(data, "png")) == "size"
    jpeg = bytearray(build.write_jpeg(levels(np.uint8, 8, 8, 3)))
    frame = jpeg.find(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    assert reason(RGB, build.compressed(bytes(jpeg), "jpeg")) == "size"


@pytest.mark.parametrize(
    ("kind", "a", "b"),
    [
        (1, 10100.0, -1009.0),
        (-1, 10100.0, -1009.0),
        (0, 0.0, -1009.0),
        (0, -1.0, 0.0),
        (0, float("nan"), 0.0),
        (0, float("inf"), 0.0),
        (0, 10100.0, 1.0),
        (0, 10100.0, float("nan")),
        (0, 10100.0, -float("inf")),
    ],
)
def test_an_impossible_compressed_depth_header_is_refused(kind: int, a: float, b: float) -> None:
    data = build.depth_header(kind, a, b) + files.write_png(levels(np.uint16, 4, 5))
    assert reason(DEPTH, build.compressed(data, "32FC1; compressedDepth png")) == "header"


def test_a_missing_compressed_depth_header_is_refused_and_the_png_format_suggested() -> None:
    png = files.write_png(levels(np.uint16, 4, 5))
    with pytest.raises(ConversionError, match="a PNG without it; is the format 'png'"):
        convert(DEPTH, build.compressed(png, "16UC1; compressedDepth png"))
    for size in range(12):
        short = build.compressed(bytes(size), "16UC1; compressedDepth png")
        assert reason(DEPTH, short) == "header"
    assert reason(DEPTH, build.compressed(bytes(12), "16UC1; compressedDepth png")) == "decode"


def test_point_clouds_are_not_written() -> None:
    cloud = DEPTH.converter("sensor_msgs/msg/PointCloud2")
    with pytest.raises(ConfigError, match="read, not written; write sensor_msgs/msg/Image"):
        cloud.fill(DEPTH, SimpleNamespace(), DEPTH.example_sample(), 0, "", OPTIONS)
