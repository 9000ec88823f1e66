"""What wrenches, commands and point clouds mean, read number by number."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.messages.images import metres
from benchmarks.messages.meaning import Meaning, refused

#: PointField datatypes of floats -> struct code.
_FLOATS = {7: "f", 8: "d"}


def numbers(values: Sequence[float], scale: float = 1.0) -> Meaning:
    """Return the float32 numbers (C,) that values times `scale` mean: finite, below a million."""
    with np.errstate(over="ignore"):
        array = np.array([np.float32(v * scale) for v in values])
    if not np.isfinite(array).all():
        return refused("nan")
    return refused("range") if max(map(abs, array.tolist())) > 1e6 else Meaning(array)


def at_paths(root: Any, paths: Sequence[str], scale: float = 1.0) -> Meaning:
    """Return the numbers at paths below a message, e.g. 'force.x' below a wrench."""
    values = []
    for path in paths:
        group, _, axis = path.partition(".")
        values.append(float(getattr(getattr(root, group), axis)))
    return numbers(values, scale)


def joints(message: Any, names: Sequence[str], scale: float) -> Meaning:
    """Return the velocities of named joints of a sensor_msgs/JointState, times `scale`."""
    reasons = set()
    if any(list(message.name).count(name) != 1 for name in names):
        reasons.add("field")
    if len(message.name) != len(message.velocity):
        reasons.add("size")
    if reasons:
        return refused(*reasons)
    by_name = dict(zip(message.name, message.velocity, strict=True))
    return numbers([by_name[name] for name in names], scale)


def multi_array(message: Any, count: int, scale: float) -> Meaning:
    """Return the `count` numbers of a std_msgs/Float32MultiArray, times `scale`."""
    offset = message.layout.data_offset
    sizes = [dimension.size for dimension in message.layout.dim]
    if len(message.data) - offset != count or (sizes and math.prod(sizes) != count):
        return refused("size")
    return numbers([float(v) for v in message.data[offset:]], scale)


def cloud(message: Any, scale: float = 0.0) -> Meaning:
    """Return z (H, W) of an organised sensor_msgs/PointCloud2 in metres; `scale` 0 = metres."""
    width, height = message.width, message.height
    reasons = set()
    if width < 1 or height < 1:
        reasons.add("size")
    if height == 1:
        reasons.add("organised")
    if message.row_step < width * message.point_step:
        reasons.add("step")
    if len(message.data) != message.row_step * height:
        reasons.add("size")
    z = [field for field in message.fields if field.name == "z"]
    code = _FLOATS.get(z[0].datatype, "") if len(z) == 1 else ""
    if not code or z[0].count > 1 or z[0].offset + struct.calcsize(code) > message.point_step:
        reasons.add("field")
    if reasons:
        return refused(*reasons)
    order, data = (">" if message.is_bigendian else "<") + code, bytes(message.data)
    starts = [
        [y * message.row_step + x * message.point_step + z[0].offset for x in range(width)]
        for y in range(height)
    ]
    values = [[struct.unpack_from(order, data, start)[0] for start in row] for row in starts]
    with np.errstate(over="ignore", invalid="ignore"):
        return metres(np.array(values).astype(np.float32) * np.float32(scale or 1.0))
