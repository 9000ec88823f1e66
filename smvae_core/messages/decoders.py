"""Which package turns image messages into arrays here: found, checked, reported once.

ROS's cv_bridge goes first, rosbags-image second; a decoder is used for the conversions that it
turns into the known arrays, so that which one it is changes no number. cv_bridge is tried in a
process of its own, since the one built for numpy 1 ends the process under numpy 2.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, MissingDependency

logger = logging.getLogger(__name__)

Decoder = Callable[[Any, str], NDArray[Any]]
"""(message-like image, wanted encoding or '' for its own) -> (H, W) or (H, W, 3)."""
Conversion = tuple[str, str]
"""(encoding, wanted encoding or '')."""

#: Longest trial of cv_bridge in its own process [s]; a loaded machine takes a few.
TRIAL_TIMEOUT_S = 60.0

_TO_RGB = {
    "rgb": None,
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "mono": cv2.COLOR_GRAY2RGB,
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,  # OpenCV names the second row's second and third pixel
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}

#: What a decoder is asked for, and OpenCV's code for the same (None: the pixels as they are).
CONVERSIONS: dict[Conversion, int | None] = {
    **{(f"{name}{b}", f"rgb{b}"): code for b in (8, 16) for name, code in _TO_RGB.items()},
    ("yuv422", "rgb8"): cv2.COLOR_YUV2RGB_UYVY,
    ("yuv422_yuy2", "rgb8"): cv2.COLOR_YUV2RGB_YUY2,
    ("mono16", ""): None,
    ("32FC1", ""): None,
}


def known_image(encoding: str) -> NDArray[Any]:
    """Return the small image (4, 6) or (4, 6, C) that the check of an encoding starts from."""
    if encoding == "32FC1":
        return np.linspace(0.1, 2.4, 24, dtype=np.float32).reshape(4, 6)
    channels = (
        2 if encoding.startswith("yuv") else 4 if encoding.startswith(("rgba", "bgra")) else 3
    )
    shape = (4, 6) if encoding.startswith(("mono", "bayer")) else (4, 6, channels)
    bits = 16 if encoding.endswith("16") else 8
    values = np.arange(np.prod(shape)) * 7919 % (2**bits - 1)
    return values.astype(f"u{bits // 8}").reshape(shape)


def check(function: Decoder, conversion: Conversion) -> str:
    """Return '' where a decoder turns a known image into the known array, else what is wrong."""
    encoding, wanted = conversion
    image = known_image(encoding)
    code = CONVERSIONS[conversion]
    expected = image if code is None else cv2.cvtColor(image, code)
    message = SimpleNamespace(
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=image.strides[0],
        data=image.reshape(-1).view(np.uint8),
    )
    try:
        got = function(message, wanted)
    except Exception as err:  # a decoder built for another numpy raises anything
        return f"{type(err).__name__}: {err}"
    if not isinstance(got, np.ndarray):
        return f"gave a {type(got).__name__}"
    if got.dtype != expected.dtype or not np.array_equal(got, expected):
        return "came back wrong"
    return ""


def self_check(function: Decoder) -> dict[Conversion, str]:
    """Return what is wrong with each conversion that a decoder does not get right."""
    found = {conversion: check(function, conversion) for conversion in CONVERSIONS}
    return {conversion: wrong for conversion, wrong in found.items() if wrong}


def load_cv_bridge() -> Decoder:
    """Return cv_bridge's decoder; raises whatever its import raises."""
    from cv_bridge import CvBridge  # type: ignore[import-not-found]

    bridge = CvBridge()
    return lambda message, wanted: bridge.imgmsg_to_cv2(message, wanted or "passthrough")


def load_rosbags() -> Decoder:
    """Return rosbags-image's decoder; raises ImportError where it is not installed."""
    from rosbags.image import image_to_cvimage

    return lambda message, wanted: image_to_cvimage(message, wanted or None)


def try_cv_bridge() -> dict[Conversion, str]:
    """Check cv_bridge in a process of its own and return what is wrong, as `self_check` does.

    Raises:
        ConfigError: If the process does not come to an answer, which is what the numpy break does.
    """
    code = (
        "import json; from smvae_core.messages import decoders as d; "
        "print(json.dumps([[*c, w] for c, w in d.self_check(d.load_cv_bridge()).items()]))"
    )
    found = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    try:
        tried = subprocess.run(
            [sys.executable, "-c", code],
            cwd=os.sep,  # nothing of the working directory is imported
            env={**os.environ, "PYTHONPATH": found},
            capture_output=True,
            text=True,
            timeout=TRIAL_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ConfigError(f"cv_bridge could not be tried: {err}") from err
    if tried.returncode < 0:
        raise ConfigError(f"cv_bridge ends its process by signal {-tried.returncode}")
    if tried.returncode:
        lines = tried.stderr.strip().splitlines() or [f"status {tried.returncode}"]
        raise ConfigError(f"cv_bridge does not work: {lines[-1]}")
    answer = json.loads(tried.stdout.splitlines()[-1])
    return {(encoding, wanted): wrong for encoding, wanted, wrong in answer}


@lru_cache(maxsize=1)
def decoder() -> tuple[str, Decoder, str]:
    """Return name and function of the image decoder in use, and what is wrong with cv_bridge.

    The last is '' where nothing is, also where it is not installed; it is logged once, here.

    Raises:
        MissingDependency: If neither cv_bridge nor rosbags-image works here.
        ConfigError: If those that work leave a conversion to nobody.
    """
    table: dict[Conversion, Decoder] = {}
    names: list[str] = []
    note = ""
    if importlib.util.find_spec("cv_bridge") is not None:
        try:
            wrong = try_cv_bridge()
            if len(wrong) < len(CONVERSIONS):
                names.append("cv_bridge")
                table |= dict.fromkeys(set(CONVERSIONS) - set(wrong), load_cv_bridge())
            if wrong:
                note = f"cv_bridge fails its self-check and is not used for {told(wrong)}"
        except Exception as err:
            note = f"cv_bridge is not used: {err} (is it built for numpy 1?)"
    if note:
        logger.warning("%s", note)
    if len(table) < len(CONVERSIONS):
        try:
            function = load_rosbags()
        except ImportError:
            if not table:
                raise MissingDependency("rosbags-image", "bags") from None
        else:
            names.append("rosbags-image")
            wrong = self_check(function)
            right = set(CONVERSIONS) - set(wrong) - set(table)
            table |= dict.fromkeys(right, function)
    if missing := set(CONVERSIONS) - set(table):
        raise ConfigError(
            f"no image decoder here reads {', '.join(sorted(e for e, _ in missing))}; "
            "pip install 'rosbags-image>=0.10.2'"
        )
    name = ", ".join(names)
    return name, lambda image, wanted: table[image.encoding, wanted](image, wanted), note


def told(wrong: dict[Conversion, str]) -> str:
    """Return what is wrong in one line, e.g. 'bayer_grbg8, mono16 (bayer_grbg8: KeyError ...)'."""
    first, what = next(((encoding, what) for (encoding, _), what in wrong.items()))
    everything = len(wrong) == len(CONVERSIONS)
    names = "any encoding" if everything else ", ".join(encoding for encoding, _ in wrong)
    return f"{names} ({first}: {what})"
