"""Cells of a LeRobot table with the fields of ROS messages, so that they are read as those are."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.messages.image_data import of_array
from smvae_datasets.lerobot.folder import Feature

JOINTS = "sensor_msgs/msg/JointState"
NUMBERS = "std_msgs/msg/Float32MultiArray"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
#: How LeRobot's own robots end the names of their numbers, and the quantity of a JointState.
QUANTITIES = {"pos": "position", "vel": "velocity", "eff": "effort", "torque": "effort"}
_WORDS = {"velocit": "velocity", "effort": "effort", "torque": "effort"}
_PNG, _JPEG = b"\x89PNG", b"\xff\xd8"


def message_type(feature: Feature) -> str:
    """Return the ROS type whose fields a feature's messages have."""
    if feature.dtype == "image":
        return COMPRESSED
    if feature.dtype == "video":
        return IMAGE
    return JOINTS if feature.names else NUMBERS


def joints(feature: Feature) -> tuple[tuple[str, ...], str]:
    """Return the names of joints and which quantity of theirs the numbers are.

    'elbow.pos' is the position of 'elbow' where all names end so; else the feature's own name
    tells, and without a word of it they are positions.
    """
    ends = {name.rpartition(".")[2] for name in feature.names}
    if len(ends) == 1 and (end := next(iter(ends))) in QUANTITIES and feature.names:
        return tuple(n.removesuffix(f".{end}") for n in feature.names), QUANTITIES[end]
    told = (q for word, q in _WORDS.items() if word in feature.name.lower())
    return feature.names, next(told, "position")


def header(stamp_ns: int) -> SimpleNamespace:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id="")


class NumbersMessage:
    """Numbers of one cell as JointState and Float32MultiArray, and each by its own name."""

    def __init__(self, feature: Feature, values: NDArray[Any], stamp_ns: int) -> None:
        self.header = header(stamp_ns)
        self.layout = SimpleNamespace(data_offset=0, dim=[])
        self.data = values
        names, quantity = joints(feature)
        self.name = list(names)
        self.position: Sequence[float] = ()
        self.velocity: Sequence[float] = ()
        self.effort: Sequence[float] = ()
        setattr(self, quantity, values)
        for name, value in zip(feature.names, values, strict=False):
            set_below(self, name, value)


def set_below(root: Any, path: str, value: Any) -> None:
    """Set a number that is read at a dotted path, 'elbow.pos', below a message.

    What the message has by that name already stays.
    """
    *members, last = path.split(".")
    for member in members:
        if not hasattr(root, member):
            setattr(root, member, SimpleNamespace())
        root = getattr(root, member)
    if not hasattr(root, last) and (not members or isinstance(root, SimpleNamespace)):
        setattr(root, last, value)


def image_message(pixels: NDArray[np.uint8], stamp_ns: int) -> Any:
    """Return (H, W, 3) uint8 RGB as an Image."""
    message = of_array(pixels, "rgb8")
    message.header = header(stamp_ns)
    return message


def compressed_message(data: bytes, stamp_ns: int) -> Any:
    """Return the bytes of a PNG or JPEG file as a CompressedImage."""
    codec = "png" if data.startswith(_PNG) else "jpeg" if data.startswith(_JPEG) else "unknown"
    return SimpleNamespace(header=header(stamp_ns), format=codec, data=data)
