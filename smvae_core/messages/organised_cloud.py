"""sensor_msgs/PointCloud2 whose points lie in rows and columns, as a depth image.

Depth is z, so the cloud must be in the camera's optical frame (z forward, REP 103), as depth
cameras publish theirs. Layout is checked here; points are then read through sensor_msgs_py where it
is installed and reads small known clouds right, by numpy otherwise: identical arrays.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.messages.base import (
    ConversionError,
    read_bytes,
    read_list,
    read_text,
    read_whole,
)

logger = logging.getLogger(__name__)

#: PointField datatypes that depth may have -> numpy.
FLOATS = {7: "f4", 8: "f8"}
_UINT8 = 2

Reader = Callable[[SimpleNamespace], NDArray[Any]]
"""Checked cloud (see `plain`) -> z (H, W), float32 or float64."""


def depth(name: str, message: Any) -> NDArray[np.float32]:
    """Return z (H, W) of an organised cloud as float32; NaN, 0 and infinities stay.

    Args:
        name: Modality, for the error.
        message: sensor_msgs/PointCloud2 of rclpy or rosbags, or anything with its fields.

    Raises:
        ConversionError: 'organised' if the points are a list (height 1), 'field' if there is no
            z of floats within a point, 'size' or 'step' if bytes do not match.
    """
    z = reader()[1](plain(name, message))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(z, np.float32)


def plain(name: str, message: Any) -> SimpleNamespace:
    """Return a cloud's layout, checked, and its points without padding behind the rows.

    The result has height, width, point_step, offset and dtype of z (in the cloud's byte order), and
    data (height, width, point_step) uint8, shared where nothing was padded.

    Raises:
        ConversionError: See `depth`.
    """
    width, height, point_step, row_step = (
        read_whole(name, message, f) for f in ("width", "height", "point_step", "row_step")
    )
    if width < 1 or height < 1:
        raise ConversionError(
            name, "size", expected="positive width and height", got=f"{width} x {height}"
        )
    if height == 1:
        raise ConversionError(
            name,
            "organised",
            expected="a cloud in rows and columns (height above 1), as a depth camera's",
            got=f"a list of {width} points",
        )
    order = ">" if read_whole(name, message, "is_bigendian") else "<"
    offset, dtype = _find_z(name, message, point_step, order)
    if row_step < width * point_step:
        raise ConversionError(
            name, "step", expected=f"at least {width * point_step} bytes per row", got=row_step
        )
    data = read_bytes(name, message)
    if data.size != row_step * height:
        raise ConversionError(
            name,
            "size",
            expected=f"{row_step * height} bytes ({row_step} x {height})",
            got=data.size,
        )
    rows = data.reshape(height, row_step)[:, : width * point_step]
    return SimpleNamespace(
        height=height,
        width=width,
        point_step=point_step,
        offset=offset,
        dtype=dtype,
        data=np.ascontiguousarray(rows).reshape(height, width, point_step),
    )


def _find_z(name: str, message: Any, point_step: int, order: str) -> tuple[int, np.dtype[Any]]:
    """Return offset and type of the one field z."""
    fields = [(read_text(name, f, "name"), f) for f in read_list(name, message, "fields")]
    found = [field for label, field in fields if label == "z"]
    if len(found) != 1:
        got = ", ".join(label for label, _ in fields) or "no fields"
        raise ConversionError(name, "field", expected="one field z", got=got)
    offset, datatype, count = (
        read_whole(name, found[0], f) for f in ("offset", "datatype", "count")
    )
    if datatype not in FLOATS or count not in (0, 1):  # some writers leave count at 0
        got = f"datatype {datatype}, count {count}"
        raise ConversionError(
            name, "field", expected="z as one float32 (7) or float64 (8)", got=got
        )
    dtype = np.dtype(order + FLOATS[datatype])
    if offset < 0 or offset + dtype.itemsize > point_step:
        got = f"offset {offset} of a point of {point_step} bytes"
        raise ConversionError(name, "field", expected="z within its point", got=got)
    return offset, dtype


def read_numpy(cloud: SimpleNamespace) -> NDArray[Any]:
    """Return z (H, W) of a plain cloud by numpy alone."""
    end = cloud.offset + cloud.dtype.itemsize
    z = np.ascontiguousarray(cloud.data[:, :, cloud.offset : end]).view(cloud.dtype)[:, :, 0]
    return z.astype(cloud.dtype.newbyteorder("="), copy=False)


def load_sensor_msgs_py() -> Reader:
    """Return a reader through sensor_msgs_py; raises ImportError where it is not installed.

    It wants an rclpy message, turns foreign byte order round in that message's own memory, and its
    older versions take the end of the last field for the end of a point: so it gets a message of
    its own, with the fields that are needed and one that ends where the point does.
    """
    from sensor_msgs.msg import PointCloud2, PointField  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from sensor_msgs_py.point_cloud2 import read_points  # type: ignore[import-not-found]

    def read(cloud: SimpleNamespace) -> NDArray[Any]:
        size = cloud.dtype.itemsize
        code = {kind: code for code, kind in FLOATS.items()}[f"f{size}"]
        fields = [PointField(name="z", offset=cloud.offset, datatype=code, count=1)]
        if cloud.offset + size < cloud.point_step:
            last = cloud.point_step - 1
            fields.append(PointField(name="end", offset=last, datatype=_UINT8, count=1))
        message = PointCloud2(
            height=cloud.height,
            width=cloud.width,
            fields=fields,
            is_bigendian=_is_big(cloud.dtype),
            point_step=cloud.point_step,
            row_step=cloud.width * cloud.point_step,
        )
        message.data.frombytes(cloud.data.tobytes())
        return np.asarray(read_points(message, ["z"])["z"]).reshape(cloud.height, cloud.width)

    return read


def _is_big(dtype: np.dtype[Any]) -> bool:
    return dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big")


def self_check(function: Reader) -> None:
    """Raise ValueError unless a reader turns four small known clouds into the known arrays."""
    for order in "<>":
        for kind in FLOATS.values():
            dtype = np.dtype(order + kind)
            z = np.linspace(-1.0, 2.0, 6).astype(dtype).reshape(2, 3)
            points = np.full((2, 3, 8 + dtype.itemsize + 5), 0xAA, np.uint8)
            points[:, :, 8 : 8 + dtype.itemsize] = z.view(np.uint8).reshape(2, 3, -1)
            cloud = SimpleNamespace(
                height=2, width=3, point_step=points.shape[2], offset=8, dtype=dtype, data=points
            )
            if not np.array_equal(function(cloud), z):
                raise ValueError(f"a cloud of {dtype.str} came back wrong")


@lru_cache(maxsize=1)
def reader() -> tuple[str, Reader, str]:
    """Return name and function of the reader in use, and what is wrong with sensor_msgs_py.

    The last is '' where nothing is, also where it is not installed; it is logged once, here.
    """
    try:
        function = load_sensor_msgs_py()
        self_check(function)
    except ImportError:
        return "numpy", read_numpy, ""
    except Exception as err:  # written for another numpy, it raises anything
        note = f"sensor_msgs_py fails its self-check and is not used: {err}"
        logger.warning("%s", note)
        return "numpy", read_numpy, note
    return "sensor_msgs_py", function, ""
