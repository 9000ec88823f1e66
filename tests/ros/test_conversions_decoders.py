"""The seam to image decoders: found, tried, used only where right, and the same arrays by each.

`scripts/test_cv_bridge.sh` runs this file where PyPI's cv_bridge is installed; elsewhere packages
of that name, made here, break as real ones do.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.messages import build, images
from smvae_core.errors import ConfigError, MissingDependency
from smvae_core.kinds.color_image import ACCEPTED
from smvae_core.kinds.depth_image import METRES_PER_UNIT
from smvae_core.messages import ConversionOptions, decoder, decoders, image_data, planar
from smvae_core.presets import VISION_TOUCH

RGB, DEPTH, _, _ = VISION_TOUCH
HAS_CV_BRIDGE = importlib.util.find_spec("cv_bridge") is not None
needs_cv_bridge = pytest.mark.skipif(
    not HAS_CV_BRIDGE, reason="no cv_bridge here: scripts/test_cv_bridge.sh tries PyPI's"
)
#: What PyPI's cv_bridge 1.13 has no conversion for; ROS 2's has them all.
PYPI_LACKS = {
    *("yuv422", "yuv422_yuy2", "bayer_grbg8", "mono16"),
    *("bgr16", "rgba16", "bgra16"),
    *(f"bayer_{pattern}16" for pattern in ("rggb", "bggr", "gbrg", "grbg")),
}

BRIDGE = """
import numpy as np
class CvBridge:
    def imgmsg_to_cv2(self, message, wanted):
        {body}
"""
RIGHT = """from smvae_core.messages.decoders import load_rosbags
        return load_rosbags()(message, "" if wanted == "passthrough" else wanted)"""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Let every test find its decoder anew, and forget it."""
    decoder.cache_clear()
    yield
    decoder.cache_clear()


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that installs a package cv_bridge whose conversion has a given body."""

    def install(body: str, head: str = "") -> None:
        package = tmp_path / "cv_bridge"
        package.mkdir()
        (package / "__init__.py").write_text(head + BRIDGE.format(body=body), encoding="utf-8")
        for name in [n for n in sys.modules if n.split(".")[0] == "cv_bridge"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("cv_bridge", None)


def every_image() -> Iterator[tuple[Any, str, Any]]:
    """Yield modality, encoding and a message of it, for each encoding that is read."""
    rng = np.random.default_rng(0)
    for modality, encodings in ((RGB, ACCEPTED), (DEPTH, tuple(METRES_PER_UNIT))):
        for encoding in encodings:
            if encoding in planar.PLANAR:  # none of the decoders is asked for them
                continue
            layout = image_data.ENCODINGS[encoding]
            shape = (6, 8, layout.channels) if layout.channels > 1 else (6, 8)
            raw = rng.integers(0, 256, (*shape, np.dtype(layout.dtype).itemsize), np.uint8)
            pixels = np.ascontiguousarray(raw).view(layout.dtype).reshape(shape)
            if encoding == "32FC1":
                pixels = rng.uniform(0.1, 3.0, shape).astype(np.float32)
            yield modality, encoding, build.image(pixels, encoding, padding=layout.channels * 4)


def converted() -> dict[str, Any]:
    """Return the array of every encoding by the decoder in use."""
    options = ConversionOptions()
    return {
        f"{modality.name} {encoding}": modality.converter().to_array(modality, message, options)
        for modality, encoding, message in every_image()
    }


def test_rosbags_image_reads_every_conversion_right() -> None:
    assert decoders.self_check(decoders.load_rosbags()) == {}


@pytest.mark.parametrize(("encoding", "wanted"), decoders.CONVERSIONS)
def test_the_known_answers_are_the_formats_own(encoding: str, wanted: str) -> None:
    code = decoders.CONVERSIONS[encoding, wanted]
    image = decoders.known_image(encoding)
    expected = image if code is None else cv2.cvtColor(image, code)
    if wanted:
        meaning = images.color(build.image(image, encoding))
        assert meaning.array is not None
        eight = images.eight_bits(expected.astype(np.int64), int(wanted[3:]))
        assert np.abs(eight.astype(int) - meaning.array).max() <= meaning.tolerance
    else:
        meaning = images.depth(build.image(image, encoding), 1.0)
        np.testing.assert_array_equal(expected.astype(np.float32), meaning.array)


def test_a_right_cv_bridge_is_used_for_everything(bridge: Any) -> None:
    expected = converted()
    decoder.cache_clear()
    bridge(RIGHT)
    assert decoder()[0] == "cv_bridge"
    for key, array in converted().items():
        np.testing.assert_array_equal(array, expected[key], err_msg=key)


def test_a_cv_bridge_that_misreads_one_encoding_leaves_it_to_the_other(
    bridge: Any, caplog: pytest.LogCaptureFixture
) -> None:
    expected = converted()
    decoder.cache_clear()
    bridge(f"if message.encoding == 'bgr8': return np.zeros((4, 6, 3), np.uint8)\n        {RIGHT}")
    with caplog.at_level(logging.WARNING):
        assert decoder()[0] == "cv_bridge, rosbags-image"
        for key, array in converted().items():
            np.testing.assert_array_equal(array, expected[key], err_msg=key)
    assert caplog.text.count("not used for bgr8 (bgr8: came back wrong)") == 1


@pytest.mark.parametrize(
    ("head", "body", "told"),
    [
        ("", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "by signal 11"),
        ("", "import os; os._exit(3)", "does not work: status 3"),
        ("raise ImportError('numpy.core.multiarray failed to import')\n", "", "multiarray failed"),
        ("raise AttributeError('_ARRAY_API not found')\n", "", "_ARRAY_API not found"),
        ("", "raise TypeError('newbyteorder')", "any encoding (rgb8: TypeError: newbyteorder)"),
        ("", "return None", "any encoding (rgb8: gave a NoneType)"),
    ],
)
def test_a_cv_bridge_built_for_another_numpy_is_left_out_and_said_once(
    bridge: Any, caplog: pytest.LogCaptureFixture, head: str, body: str, told: str
) -> None:
    bridge(body or "pass", head)
    with caplog.at_level(logging.WARNING):
        assert decoder()[0] == "rosbags-image"
        assert len(converted()) == len(list(every_image()))
    warnings = [r.message for r in caplog.records if "cv_bridge" in r.message]
    assert len(warnings) == 1
    assert told in warnings[0]


def test_no_decoder_at_all_gives_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rosbags.image", None)
    monkeypatch.setattr(decoders.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="rosbags-image is not installed"):
        decoder()


def test_an_encoding_that_no_decoder_reads_is_named(
    bridge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge(f"if message.encoding == 'mono8': raise KeyError\n        {RIGHT}")
    assert len(decoders.try_cv_bridge()) == 1
    monkeypatch.setattr(decoders, "load_rosbags", lambda: lambda message, wanted: np.zeros(1))
    with pytest.raises(ConfigError, match="no image decoder here reads mono8; pip install"):
        decoder()


@needs_cv_bridge
def test_cv_bridge_and_rosbags_image_give_identical_arrays() -> None:
    wrong = decoders.try_cv_bridge()
    lacking = {encoding for encoding, _ in wrong}
    assert lacking in (set(), PYPI_LACKS), wrong
    assert decoder()[0] == ("cv_bridge, rosbags-image" if lacking else "cv_bridge")
    by_bridge, by_rosbags = decoders.load_cv_bridge(), decoders.load_rosbags()
    compared = set()
    for modality, encoding, message in every_image():
        plain = image_data.plain(modality.name, message, (encoding,))
        wanted = "" if modality is DEPTH else f"rgb{16 if encoding.endswith('16') else 8}"
        if (plain.encoding, wanted) in wrong:
            continue
        got = by_bridge(plain, wanted)
        np.testing.assert_array_equal(got, by_rosbags(plain, wanted), err_msg=encoding)
        assert got.dtype == by_rosbags(plain, wanted).dtype
        compared.add(encoding)
    assert compared >= {"rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "16UC1", "32FC1"}
    print("compared:", ", ".join(sorted(compared)), "| left to rosbags-image:", sorted(lacking))


@needs_cv_bridge
def test_every_encoding_is_converted_the_same_with_and_without_cv_bridge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_bridge = converted()
    decoder.cache_clear()
    monkeypatch.setattr(decoders.importlib.util, "find_spec", lambda name: None)
    assert decoder()[0] == "rosbags-image"
    without = converted()
    assert with_bridge.keys() == without.keys()
    for key, array in with_bridge.items():
        assert array.dtype == without[key].dtype
        np.testing.assert_array_equal(array, without[key], err_msg=key)


@needs_cv_bridge
def test_cv_bridge_takes_the_ros_message_itself() -> None:
    message_module = pytest.importorskip("sensor_msgs.msg")
    sample = RGB.example_sample()
    message = RGB.converter().fill(
        RGB, message_module.Image(), sample, 1, "camera", ConversionOptions()
    )
    got = decoders.load_cv_bridge()(message, "rgb8")
    np.testing.assert_array_equal(got, sample)
