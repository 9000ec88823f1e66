"""What image messages mean, read pixel by pixel from the definitions of their encodings.

Sources: sensor_msgs' Image, CompressedImage and image_encodings, ITU-R BT.601 for yuv422, and
compressed_depth_image_transport's codec for compressedDepth.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.messages.files import jpeg, png, rvl
from benchmarks.messages.meaning import Meaning, refused

_COLOR = {"rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGBA", "bgra8": "BGRA", "mono8": "G", "8UC1": "G"}
_COLOR |= {"rgb16": "RGB", "bgr16": "BGR", "rgba16": "RGBA", "bgra16": "BGRA", "mono16": "G"}
_YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuyv": "YUYV", "yuv422_yuy2": "YUYV"}
#: Encodings with a plane of colour of their own -> pixels that share one, and its order.
_PLANES = {"nv12": (2, "UV"), "nv21": (2, "VU"), "nv24": (1, "UV")}
_DEPTH = {"16UC1": ("H", 0.001), "mono16": ("H", 0.001), "32FC1": ("f", 1.0)}


def _samples(message: Any, code: str, channels: int) -> tuple[list[list[list[float]]], set[str]]:
    """Return rows of pixels of channels of a message's data, and its faults of size and step."""
    size = struct.calcsize(code)
    width, height, step = message.width, message.height, message.step
    faults = set()
    if width < 1 or height < 1:
        faults.add("size")
    if step < width * channels * size:
        faults.add("step")
    if len(message.data) != step * height:
        faults.add("size")
    if faults:
        return [], faults
    order = (">" if message.is_bigendian else "<") + code
    data = bytes(message.data)
    return [
        [
            [
                struct.unpack_from(order, data, y * step + (x * channels + c) * size)[0]
                for c in range(channels)
            ]
            for x in range(width)
        ]
        for y in range(height)
    ], set()


def color(message: Any) -> Meaning:
    """Return the RGB image (H, W, 3) that a sensor_msgs/Image means."""
    encoding = message.encoding
    if encoding in _YUV:
        rows, faults = _samples(message, "B", 2)
        if message.width % 2:
            faults.add("size")
        return refused(*faults) if faults else Meaning(_from_yuv(rows, _YUV[encoding]), set(), 1.0)
    if encoding in _PLANES:
        return _from_planes(message, *_PLANES[encoding])
    bayer = encoding.startswith("bayer_") and encoding[6:10] in ("rggb", "bggr", "gbrg", "grbg")
    bits = encoding[10:] if bayer else ("16" if encoding.endswith("16") else "8")
    if encoding not in _COLOR and not (bayer and bits in ("8", "16")):
        return refused("encoding")
    names = "G" if bayer else _COLOR[encoding]
    rows, faults = _samples(message, "H" if bits == "16" else "B", len(names))
    if bayer and min(message.width, message.height) < 3:
        faults.add("size")
    if faults:
        return refused(*faults)
    if bayer:
        image = demosaic(np.array(rows, np.int64)[:, :, 0], encoding[6:10])
    else:
        picked = [names.index("G" if names == "G" else c) for c in "RGB"]
        image = np.array([[[p[i] for i in picked] for p in row] for row in rows], np.int64)
    return Meaning(eight_bits(image, int(bits)))


def eight_bits(image: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """Return levels of 8 or 16 bits as uint8: 0 stays 0 and 65535 becomes 255, rounded."""
    return np.rint(image / 257.0 if bits == 16 else image).astype(np.uint8)


def _from_yuv(rows: list[list[list[float]]], order: str) -> NDArray[np.uint8]:
    """Return RGB of pairs of pixels: Y 16 to 235, U and V 16 to 240 around 128 (BT.601)."""
    height, width = len(rows), len(rows[0])
    image = np.zeros((height, width, 3))
    luma, first = order.index("Y"), 1 - order.index("Y")
    for y in range(height):
        for x in range(width):
            left = x - x % 2
            u, v = rows[y][left][first] - 128, rows[y][left + 1][first] - 128
            image[y, x] = _bt601(rows[y][x][luma], u, v)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _bt601(luma: float, u: float, v: float) -> tuple[float, float, float]:
    """Return RGB of Y from 16 to 235, and U and V that are 0 without colour."""
    grey = max(luma - 16, 0) * 255 / 219
    return (
        grey + 1.402 * 255 / 224 * v,
        grey - (0.344136 * u + 0.714136 * v) * 255 / 224,
        grey + 1.772 * 255 / 224 * u,
    )


def _from_planes(message: Any, share: int, order: str) -> Meaning:
    """Return RGB of rows of Y, and behind them rows of pairs of U and V (V4L2's formats)."""
    width, height, step, data = message.width, message.height, message.step, bytes(message.data)
    faults = set()
    if width < 1 or height < 1 or width % share or height % share:
        faults.add("size")
    if step < width:
        faults.add("step")
    if not faults and len(data) != step * height + (2 * step // share) * (height // share):
        faults.add("size")
    if faults:
        return refused(*faults, "size")
    image = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            at = step * height + (y // share) * (2 * step // share) + 2 * (x // share)
            u, v = (data[at + order.index(c)] - 128 for c in "UV")
            image[y, x] = _bt601(data[y * step + x], u, v)
    return Meaning(np.clip(np.rint(image), 0, 255).astype(np.uint8), set(), 1.0)


def demosaic(mosaic: NDArray[np.int64], pattern: str) -> NDArray[np.int64]:
    """Return RGB (H, W, 3) of a colour filter pattern, H and W at least 3.

    Bilinear: a missing colour is the rounded mean of the nearest pixels that have it; the outermost
    rows and columns repeat those beside them, as OpenCV's demosaicing does.
    """
    height, width = mosaic.shape
    image = np.zeros((height, width, 3), np.int64)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            for index, color_name in enumerate("rgb"):
                near: list[int] = []
                for distance in (0, 1, 2):
                    near = [
                        int(mosaic[y + dy, x + dx])
                        for dy in (-1, 0, 1)
                        for dx in (-1, 0, 1)
                        if abs(dy) + abs(dx) == distance
                        and pattern[(y + dy) % 2 * 2 + (x + dx) % 2] == color_name
                    ]
                    if near:
                        break
                image[y, x, index] = (sum(near) + len(near) // 2) // len(near)
    image[:, 0], image[:, -1] = image[:, 1], image[:, -2]
    image[0], image[-1] = image[1], image[-2]
    return image


def depth(message: Any, scale: float = 0.0) -> Meaning:
    """Return the metres (H, W) that a sensor_msgs/Image means; `scale` 0 = by encoding."""
    if message.encoding not in _DEPTH:
        return refused("encoding")
    code, unit = _DEPTH[message.encoding]
    rows, faults = _samples(message, code, 1)
    if faults:
        return refused(*faults)
    levels = np.array([[p[0] for p in row] for row in rows], np.float32)
    return metres(levels * np.float32(scale or unit))


def metres(image: NDArray[np.float32]) -> Meaning:
    """Return what an image of depth [m] means: nothing, if no pixel has a return."""
    seen = any(0.0 < value < math.inf for value in image.reshape(-1).tolist())
    return Meaning(image) if seen else refused("empty")


def compressed_color(message: Any) -> Meaning:
    """Return the RGB image that a sensor_msgs/CompressedImage means."""
    codec, encoding, is_bgr = _format(message.format)
    if codec not in ("jpeg", "png"):
        return refused("format")
    meaning = jpeg(message.data) if codec == "jpeg" else png(message.data)
    if meaning.array is None:
        return meaning
    image, bits = meaning.array.astype(np.int64), meaning.array.itemsize * 8
    if image.ndim == 3:
        swapped = encoding in _COLOR and _COLOR[encoding] != "G" and not is_bgr
        image = image[:, :, 2::-1] if swapped else image[:, :, :3]
    elif encoding.startswith("bayer_"):
        if encoding[6:10] not in ("rggb", "bggr", "gbrg", "grbg") or encoding[10:].strip(
            "0123456789"
        ):
            return refused("encoding")
        if min(image.shape) < 3:
            return refused("size")
        image = demosaic(image, encoding[6:10])
    else:
        image = np.stack([image] * 3, axis=2)
    return Meaning(eight_bits(image, bits), meaning.reasons)


def compressed_depth(message: Any, scale: float = 0.0) -> Meaning:
    """Return the metres that a sensor_msgs/CompressedImage means; `scale` 0 = by encoding."""
    codec, encoding, _ = _format(message.format)
    if codec not in ("png", "compressedDepth"):
        return refused("format")
    if encoding not in ("", "16UC1", "mono16", "32FC1") or (codec, encoding) == ("png", "32FC1"):
        return refused("encoding")
    data, a, b = bytes(message.data), 0.0, 0.0
    if codec == "compressedDepth":
        if len(data) < 12 or data.startswith(b"\x89PNG\r\n\x1a\n"):
            return refused("header")
        kind, a, b = struct.unpack("<iff", data[:12])
        if encoding == "32FC1" and not (kind == 0 and a > 0 and math.isfinite(a) and b < 1):
            return refused("header")
        if encoding == "32FC1" and not math.isfinite(b):
            return refused("header")
        data = data[12:]
    meaning = rvl(data) if message.format.split()[-1] == "rvl" else png(data)
    if meaning.array is None:
        return meaning
    if meaning.array.ndim != 2 or meaning.array.dtype != np.uint16:
        return refused("encoding")
    levels = meaning.array.astype(np.float32)
    if encoding != "32FC1":
        return metres(levels * np.float32(scale or 0.001))
    image = np.full(levels.shape, np.nan, np.float32)
    with np.errstate(over="ignore", divide="ignore"):
        for at in zip(*np.nonzero(levels), strict=True):
            image[at] = np.float32(a) / (levels[at] - np.float32(b))
        return metres(image * np.float32(scale or 1.0))


def _format(text: str) -> tuple[str, str, bool]:
    """Return codec ('' if none is named), encoding and whether the file's order is BGR."""
    encoding, split, rest = text.partition(";")
    if not split:
        encoding, rest = "", text
    words = rest.split()
    if not words:
        return "", "", True
    codec = {"jpeg": "jpeg", "jpg": "jpeg", "png": "png"}.get(words[0].lower(), "")
    if words[0].lower() == "compresseddepth" and words[1:] in ([], ["png"], ["rvl"]):
        codec = "compressedDepth"
    return codec, encoding.strip(), "compressed bgr" in rest
