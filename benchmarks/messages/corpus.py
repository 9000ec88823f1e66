"""Messages by chance: well formed, then damaged field by field, with what they still mean.

Damage stays within what the wire can carry (unsigned sizes, text, bytes), so that every message
could arrive at a robot. All of it follows from one random generator.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.messages import build, files, images, readings
from benchmarks.messages.meaning import Meaning
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality
from smvae_core.presets import VISION_TOUCH

RGB, DEPTH, FORCE, ACTION = VISION_TOUCH
JOINTS = ("shoulder", "elbow", "wrist", "hand")

COLOR_ENCODINGS = (
    *("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "8UC1", "yuv422", "uyvy", "yuyv", "yuv422_yuy2"),
    *("rgb16", "bgr16", "rgba16", "bgra16", "mono16"),
    *(f"bayer_{p}{b}" for b in (8, 16) for p in ("rggb", "bggr", "gbrg", "grbg")),
    *("nv12", "nv21", "nv24"),
)
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
#: What may stand where a format should.
FORMATS = (
    *("jpeg", "png", "jpg", "JPEG", "h264", ";", "", "rgb8", "compressedDepth", "bgr8;png"),
    *("rgb8; jpeg compressed bgr8", "bgr8; png compressed", "bayer_rggb8; png compressed"),
    *("bayer_xyzw8; png compressed", "rgba16; png compressed", "mono8; jpeg compressed"),
    *("16UC1; compressedDepth", "32FC1; compressedDepth png", "16UC1; compressedDepth rvl"),
    *("16UC1; png compressed", "32FC1; png compressed", "rgb8; compressedDepth png"),
)
#: What may stand where any other text should.
WORDS = (
    *COLOR_ENCODINGS,
    *DEPTH_ENCODINGS,
    *("", "8UC3", "16UC3", "64FC1", "RGB8", "rgb8 ", "yv12", "bayer_rggb12", "z", "y"),
)
NUMBERS = (0.0, -1.0, 1e38, 1e300, -1e300, float("nan"), float("inf"), -float("inf"), 5e-324)


class Sample(NamedTuple):
    """One message, and as what it is to be read."""

    modality: Modality
    message_type: str
    message: SimpleNamespace
    options: ConversionOptions
    damages: int = 0
    """How many times it was damaged."""

    @property
    def label(self) -> str:
        """What results are counted by, e.g. 'rgb sensor_msgs/msg/Image'."""
        return f"{self.modality.name} {self.message_type}"

    def meaning(self) -> Meaning:
        """Return what the message means, by the second reading."""
        message, scale, step = self.message, self.options.depth_scale, self.options.step_time_s
        match (self.modality.kind, self.message_type.rsplit("/", 1)[1]):
            case ("color_image", "Image"):
                return images.color(message)
            case ("color_image", "CompressedImage"):
                return images.compressed_color(message)
            case ("depth_image", "Image"):
                return images.depth(message, scale)
            case ("depth_image", "CompressedImage"):
                return images.compressed_depth(message, scale)
            case ("depth_image", "PointCloud2"):
                return readings.cloud(message, scale)
            case ("signal", "WrenchStamped"):
                return readings.at_paths(message.wrench, self.modality.fields)
            case ("command", "TwistStamped"):
                return readings.at_paths(message.twist, self.modality.fields, step)
            case ("command", "JointState"):
                names = self.options.joint_names or self.modality.fields
                return readings.joints(message, names, step)
            case ("command", "Float32MultiArray"):
                return readings.multi_array(message, self.modality.shape[0], step)
        raise ValueError(self.label)


def draw(rng: np.random.Generator) -> Sample:
    """Return a well-formed message of a type by chance, then damaged 0 to 3 times."""
    modality, message_type, make = MAKERS[rng.integers(len(MAKERS))]
    options = ConversionOptions(
        depth_scale=float(rng.choice([0.0, 0.001, 0.01])),
        step_time_s=float(rng.choice([0.05, 0.1])),
        joint_names=JOINTS if rng.random() < 0.5 else (),
    )
    damages = int(rng.choice([0, 1, 1, 1, 1, 1, 1, 2, 2, 3]))
    sample = Sample(modality, message_type, make(rng, options), options, damages)
    for _ in range(damages):
        damage(rng, sample.message)
    return sample


def damage(rng: np.random.Generator, message: Any) -> None:
    """Change one field of a message, or of a message within it, by chance."""
    owner, name = message, ""
    while True:
        names = list(vars(owner))
        # data and what says how to read them matter more than the rest
        weights = np.array([1 if n in ("header", "position", "effort") else 4 for n in names])
        name = names[rng.choice(len(names), p=weights / weights.sum())]
        value = getattr(owner, name)
        if isinstance(value, SimpleNamespace):
            owner = value
        elif isinstance(value, list) and value and isinstance(value[0], SimpleNamespace):
            if rng.random() < 0.4:
                break
            owner = value[rng.integers(len(value))]
        else:
            break
    setattr(owner, name, _damaged(rng, value, name))


def _damaged(rng: np.random.Generator, value: Any, name: str) -> Any:
    """Return another value of the same type on the wire."""
    if isinstance(value, str):
        return str(rng.choice(FORMATS if name == "format" else WORDS))
    if isinstance(value, bool | np.bool_):
        return not value
    if name in ("is_bigendian", "datatype"):
        return int(rng.integers(256)) if rng.random() < 0.3 else int(rng.integers(10))
    if isinstance(value, int):
        near = [value - 1, value + 1, 2 * value, value // 2]
        far = [0, 1, 7, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
        return max(0, int(rng.choice(near if rng.random() < 0.6 else far)))
    if isinstance(value, float):
        return float(rng.choice(NUMBERS))
    if isinstance(value, array) and value.typecode == "B":
        return array("B", _damaged_bytes(rng, bytes(value)))
    if isinstance(value, array):
        numbers = list(value)
        if numbers and rng.random() < 0.5:
            numbers[rng.integers(len(numbers))] = float(rng.choice(NUMBERS))
            with np.errstate(over="ignore"):  # an infinity of 32 bits
                numbers = np.array(numbers).astype(value.typecode).tolist()
            return array(value.typecode, numbers)
        return array(value.typecode, _other_length(rng, numbers, 1.0))
    if name == "fields" and not value:
        return [build.point_field("z", 8, 7)]
    if value and isinstance(value[0], str) and rng.random() < 0.5:
        return [*value[:-1], str(rng.choice(WORDS))]
    empty = {"dim": SimpleNamespace(label="", size=4, stride=4)}
    return _other_length(rng, value, value[0] if value else empty.get(name, ""))


def _other_length(rng: np.random.Generator, items: list[Any], more: Any) -> list[Any]:
    """Return a list with something missing, doubled or turned round."""
    choice = rng.integers(5)
    if choice == 0:
        return []
    if choice == 1:
        return items[:-1]
    if choice == 2:
        return [*items, more]
    return items[::-1] if choice == 3 else items[1:]


def _damaged_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """Return bytes cut, extended, flipped, replaced, or a PNG with another head that checks."""
    choice = rng.integers(7)
    if choice == 0 or not data:
        return b""
    if choice == 1:
        return data[: rng.integers(len(data))]
    if choice == 2:
        return data + rng.bytes(int(rng.integers(1, 20)))
    if choice == 3:
        return rng.bytes(len(data))
    if choice == 4 and 0 <= (at := data.find(b"IHDR")) <= len(data) - 21:
        head = bytearray(data[at : at + 17])
        place = int(rng.integers(4, 17))
        head[place] = int(rng.integers(256)) if rng.random() < 0.5 else int(rng.integers(5))
        return data[:at] + head + zlib.crc32(head).to_bytes(4, "big") + data[at + 21 :]
    if choice == 5:  # another camera's data
        rgb = rng.integers(0, 256, (4, 6, 3), np.uint8)
        return build.write_jpeg(rgb) if rng.random() < 0.5 else files.write_png(rgb)
    flipped = np.frombuffer(data, np.uint8).copy()
    for _ in range(rng.integers(1, 4)):
        flipped[rng.integers(len(flipped))] ^= 1 << rng.integers(8)
    return flipped.tobytes()


# --- well-formed messages by chance ------------------------------------------------------------


def _levels(rng: np.random.Generator, encoding: str) -> Any:
    """Return small pixels of an encoding."""
    height, width = rng.integers(3, 7, 2)
    width += width % 2 if encoding.startswith(("yuv", "uyvy")) else 0
    if encoding == "32FC1":
        metres = rng.uniform(0.2, 3.0, (height, width)).astype(np.float32)
        metres[0, 0] = rng.choice([0.0, np.nan, np.inf, -np.inf, 1.0])
        return metres
    channels = 2 if encoding.startswith(("yuv", "uyvy")) else 4 if encoding[3:4] == "a" else 3
    grey = encoding.startswith(("mono", "bayer", "8UC1", "16UC1"))
    shape = (height, width) if grey else (height, width, channels)
    bits = 16 if encoding.endswith("16") or encoding == "16UC1" else 8
    return rng.integers(0, 2**bits, shape, f"u{bits // 8}")


def _image(encodings: tuple[str, ...]) -> Callable[..., SimpleNamespace]:
    def make(rng: np.random.Generator, options: ConversionOptions) -> SimpleNamespace:
        encoding = str(rng.choice(encodings))
        padding, big_endian = int(rng.choice([0, 0, 1, 4])), bool(rng.random() < 0.3)
        pixels = _levels(rng, encoding)
        if encoding.startswith("nv"):
            even = pixels[: len(pixels) // 2 * 2, : pixels.shape[1] // 2 * 2]
            padding += padding % 2
            return build.planar_image(even, encoding, padding=padding, big_endian=big_endian)
        return build.image(pixels, encoding, padding=padding, big_endian=big_endian)

    return make


def _compressed_color(rng: np.random.Generator, options: ConversionOptions) -> SimpleNamespace:
    encoding = str(rng.choice(["rgb8", "mono8", "bgr16", "mono16", "rgba8", "bayer_gbrg8"]))
    pixels = _levels(rng, encoding)
    small = pixels.dtype == np.uint8 and encoding != "rgba8"
    codec = "jpeg" if small and rng.random() < 0.5 else "png"
    filters = ((0,), (1,), (2,), (0, 1, 2))[rng.integers(4)]
    data = build.write_jpeg(pixels) if codec == "jpeg" else files.write_png(pixels, filters)
    said = codec if rng.random() < 0.5 else f"{encoding}; {codec} compressed bgr8"
    return build.compressed(data, said)


def _compressed_depth(rng: np.random.Generator, options: ConversionOptions) -> SimpleNamespace:
    choice = rng.integers(3)
    if choice == 0:
        return build.compressed_metres(np.nan_to_num(_levels(rng, "32FC1"), posinf=0, neginf=0) + 1)
    levels = _levels(rng, "16UC1")
    if choice == 1:
        if not int(levels.sum()) % 2:
            return build.compressed_millimetres(levels)
        data = build.depth_header() + files.write_rvl(levels)
        return build.compressed(data, "16UC1; compressedDepth rvl")
    return build.compressed(files.write_png(levels), str(rng.choice(["png", "16UC1; png"])))


def _cloud(rng: np.random.Generator, options: ConversionOptions) -> SimpleNamespace:
    z = _levels(rng, "32FC1").astype(rng.choice(["f4", "f8"]))
    gap, padding = int(rng.choice([0, 4, 5])), int(rng.choice([0, 0, 3]))
    return build.cloud(z, gap=gap, padding=padding, big_endian=bool(rng.random() < 0.3))


def _joints(rng: np.random.Generator, options: ConversionOptions) -> SimpleNamespace:
    names = [*(options.joint_names or ACTION.fields), "gripper"]
    rng.shuffle(names)
    return build.joint_state(names, rng.normal(size=5).tolist())


def _multi_array(rng: np.random.Generator, options: ConversionOptions) -> SimpleNamespace:
    offset = int(rng.choice([0, 0, 2]))
    sizes = ((), (4,), (2, 2))[rng.integers(3)]
    return build.multi_array(rng.normal(size=4 + offset).tolist(), sizes, offset)


#: Every message type of every modality, and a function (generator, options) -> message.
MAKERS: tuple[tuple[Modality, str, Callable[..., SimpleNamespace]], ...] = (
    (RGB, "sensor_msgs/msg/Image", _image(COLOR_ENCODINGS)),
    (RGB, "sensor_msgs/msg/CompressedImage", _compressed_color),
    (DEPTH, "sensor_msgs/msg/Image", _image(DEPTH_ENCODINGS)),
    (DEPTH, "sensor_msgs/msg/CompressedImage", _compressed_depth),
    (DEPTH, "sensor_msgs/msg/PointCloud2", _cloud),
    (
        FORCE,
        "geometry_msgs/msg/WrenchStamped",
        lambda g, _: build.wrench(g.normal(size=6).tolist()),
    ),
    (ACTION, "geometry_msgs/msg/TwistStamped", lambda g, _: build.twist(g.normal(size=6).tolist())),
    (ACTION, "sensor_msgs/msg/JointState", _joints),
    (ACTION, "std_msgs/msg/Float32MultiArray", _multi_array),
)
