"""Well-formed messages of every type, as objects with the fields of the ROS messages."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.messages.files import write_png


def header(stamp_ns: int = 1_000_000_002, frame_id: str = "camera_optical") -> SimpleNamespace:
    """Return a std_msgs/Header."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame_id)


def image(
    pixels: NDArray[Any], encoding: str, *, padding: int = 0, big_endian: bool = False
) -> SimpleNamespace:
    """Return a sensor_msgs/Image of pixels (H, W) or (H, W, C); 0xAA bytes pad each row."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(_ordered(pixels, big_endian)).reshape(height, -1).view(np.uint8)
    padded = np.full((height, rows.shape[1] + padding), 0xAA, np.uint8)
    padded[:, : rows.shape[1]] = rows
    return SimpleNamespace(
        header=header(),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=padded.shape[1],
        data=array("B", padded.tobytes()),
    )


def planar_image(
    yuv: NDArray[np.uint8], encoding: str, *, padding: int = 0, big_endian: bool = False
) -> SimpleNamespace:
    """Return a sensor_msgs/Image in nv12, nv21 or nv24 of pixels (H, W, 3) of Y, U and V.

    Of pixels that share a colour the upper left one's is taken.
    """
    share = 1 if encoding == "nv24" else 2
    colour = yuv[::share, ::share, 2:0:-1] if encoding == "nv21" else yuv[::share, ::share, 1:]
    message = image(yuv[:, :, 0], encoding, padding=padding, big_endian=big_endian)
    plane = image(colour, encoding, padding=2 * message.step // share - 2 * colour.shape[1])
    message.data += plane.data
    return message


def compressed(data: bytes, text: str) -> SimpleNamespace:
    """Return a sensor_msgs/CompressedImage."""
    return SimpleNamespace(header=header(), format=text, data=array("B", data))


def write_jpeg(rgb_or_grey: NDArray[np.uint8]) -> bytes:
    """Return (H, W, 3) RGB or (H, W) grey as a JPEG of quality 95."""
    order = rgb_or_grey if rgb_or_grey.ndim == 2 else rgb_or_grey[:, :, ::-1]
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(order))[1])


def depth_header(kind: int = 0, a: float = 0.0, b: float = 0.0) -> bytes:
    """Return the twelve bytes before the PNG of compressedDepth."""
    return struct.pack("<iff", kind, a, b)


def compressed_millimetres(levels: NDArray[np.uint16]) -> SimpleNamespace:
    """Return a depth image (H, W) of 16UC1 as compressedDepth."""
    return compressed(depth_header() + write_png(levels), "16UC1; compressedDepth png")


def compressed_metres(
    metres: NDArray[np.float32], depth_max: float = 10.0, quantization: float = 100.0
) -> SimpleNamespace:
    """Return a depth image (H, W) of 32FC1 as compressedDepth: inverse depth in 16 bits.

    q = A / depth + B cut off to an integer, 0 where depth is not below `depth_max`, with
    A = z0 (z0 + 1) and B = 1 - A / depth_max, z0 being `quantization`.
    """
    a = np.float32(quantization * (quantization + 1.0))
    b = np.float32(1.0) - a / np.float32(depth_max)
    levels = np.zeros(metres.shape, np.uint16)
    for at in zip(*np.nonzero(metres < depth_max), strict=True):
        levels[at] = int(a / metres[at] + b)
    data = depth_header(0, float(a), float(b)) + write_png(levels)
    return compressed(data, "32FC1; compressedDepth png")


def cloud(
    z: NDArray[Any], *, gap: int = 4, padding: int = 0, big_endian: bool = False
) -> SimpleNamespace:
    """Return a sensor_msgs/PointCloud2 in rows and columns with fields x, y, z and rgb.

    Args:
        z: (H, W) float32 or float64; x and y are twice and three times as much.
        gap: Bytes of rgb behind z in each point.
        padding: Bytes behind each row.
        big_endian: Byte order of the numbers.
    """
    height, width = z.shape
    size = z.itemsize
    numbers = np.stack([2 * z, 3 * z, z], axis=2).astype(z.dtype)
    raw = np.ascontiguousarray(_ordered(numbers, big_endian)).view(np.uint8)
    points = np.full((height, width, 3 * size + gap), 0xBB, np.uint8)
    points[:, :, : 3 * size] = raw.reshape(height, width, -1)
    rows = np.full((height, width * points.shape[2] + padding), 0xCC, np.uint8)
    rows[:, : width * points.shape[2]] = points.reshape(height, -1)
    fields = [point_field(n, i * size, 6 + size // 4) for i, n in enumerate("xyz")]
    if gap >= 4:
        fields.append(point_field("rgb", 3 * size, 6))
    return SimpleNamespace(
        header=header(),
        height=height,
        width=width,
        fields=fields,
        is_bigendian=big_endian,
        point_step=points.shape[2],
        row_step=rows.shape[1],
        data=array("B", rows.tobytes()),
        is_dense=True,
    )


def point_field(name: str, offset: int, datatype: int, count: int = 1) -> SimpleNamespace:
    """Return a sensor_msgs/PointField; datatype 7 is float32, 8 float64, 6 uint32."""
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=count)


def wrench(values: Sequence[float]) -> SimpleNamespace:
    """Return a geometry_msgs/WrenchStamped of three forces [N] and three torques [N m]."""
    body = SimpleNamespace(force=vector3(*values[:3]), torque=vector3(*values[3:]))
    return SimpleNamespace(header=header(), wrench=body)


def twist(values: Sequence[float]) -> SimpleNamespace:
    """Return a geometry_msgs/TwistStamped of linear [m/s] and angular [rad/s] velocities."""
    body = SimpleNamespace(linear=vector3(*values[:3]), angular=vector3(*values[3:]))
    return SimpleNamespace(header=header(), twist=body)


def vector3(x: float, y: float, z: float) -> SimpleNamespace:
    """Return a geometry_msgs/Vector3."""
    return SimpleNamespace(x=x, y=y, z=z)


def joint_state(names: Sequence[str], velocity: Sequence[float]) -> SimpleNamespace:
    """Return a sensor_msgs/JointState with velocities alone."""
    return SimpleNamespace(
        header=header(),
        name=list(names),
        position=array("d"),
        velocity=array("d", velocity),
        effort=array("d"),
    )


def multi_array(
    values: Sequence[float], sizes: Sequence[int] = (), data_offset: int = 0
) -> SimpleNamespace:
    """Return a std_msgs/Float32MultiArray."""
    dimensions = [SimpleNamespace(label="", size=s, stride=s) for s in sizes]
    layout = SimpleNamespace(dim=dimensions, data_offset=data_offset)
    return SimpleNamespace(layout=layout, data=array("f", values))


def _ordered(values: NDArray[Any], big_endian: bool) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder(">" if big_endian else "<"))
