"""Bags of a small robot in every storage: camera, depth, wrench, joints, pose, contact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from mcap.reader import make_reader
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags import rosbag1, rosbag2
from rosbags.typesys import Stores, get_typestore

from tests.datasets.ros_messages import filled

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
#: Of chunks: small, so that a damaged one is a small part.
CHUNK_BYTES = 32 * 1024
#: Reception after the stamp.
LATENCY_NS = 5 * MS

ROBOT = """
robot: test_arm
sensors:
  wrist: {kind: color_image, channel: {topic: /wrist/image}, size: [32, 32]}
  depth: {kind: depth_image, channel: {topic: /depth/image}, size: [32, 32], range_m: [0.05, 3.0]}
  force:
    kind: signal
    channel: {topic: /wrench, type: geometry_msgs/msg/WrenchStamped}
    select: [wrench.force, wrench.torque]
    window_s: 0.032
    rate_hz: 1000
  joints: {kind: joint_state, channel: {topic: /joints}, joints: [j1, j2], select: [position]}
targets:
  hole:
    channel: {topic: /pose, type: geometry_msgs/msg/PoseStamped}
    select: [pose.position]
    unit: m
  touching: {channel: {topic: /contact, type: std_msgs/msg/Bool}, select: [data], binary: true}
episodes: {rate_hz: 20, split_on: gap, gap_s: 0.5, min_s: 0.3}
"""

_PLUGINS = {"mcap": rosbag2.StoragePlugin.MCAP, "sqlite3": rosbag2.StoragePlugin.SQLITE3}
STORAGES = (*_PLUGINS, "ros1")
_STORES = {
    name: get_typestore(Stores.ROS1_NOETIC if name == "ros1" else Stores.ROS2_JAZZY)
    for name in STORAGES
}


class Recorded(NamedTuple):
    """One message."""

    topic: str
    message_type: str
    stamp_ns: int
    received_ns: int
    value: Any
    """What the message says beside its header, see `_message`."""


def motion(seconds: float, begin_ns: int = START_NS, seed: int = 0) -> Iterator[Recorded]:
    """Yield what the robot records: images at 20 Hz, the wrench at 500 Hz, the rest between."""
    rng = np.random.default_rng(seed)
    for tick in range(round(seconds * 500)):
        stamp = begin_ns + 2 * MS * tick

        def made(topic: str, message_type: str, value: Any, stamp: int = stamp) -> Recorded:
            return Recorded(topic, message_type, stamp, stamp + LATENCY_NS, value)

        wave = np.sin(tick * 0.01 + np.arange(6))
        yield made("/wrench", "geometry_msgs/msg/WrenchStamped", wave + rng.normal(0, 0.1, 6))
        if tick % 5 == 0:
            yield made("/joints", "sensor_msgs/msg/JointState", wave[:2])
            yield made("/pose", "geometry_msgs/msg/PoseStamped", wave[:3])
            yield made("/contact", "std_msgs/msg/Bool", bool(wave[0] > 0))
        if tick % 25 == 0:
            level = np.uint8(100 + 80 * wave[0])
            image = rng.integers(0, 40, (40, 48, 3), np.uint8) + level
            yield made("/wrist/image", "sensor_msgs/msg/Image", image)
            depth = (800 + 200 * wave[0] + rng.integers(0, 50, (40, 48))).astype(np.uint16)
            yield made("/depth/image", "sensor_msgs/msg/Image", depth)


def write_bag(
    path: Path,
    messages: Iterable[Recorded],
    storage: str = "mcap",
    broken: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write messages as they are given and return the bag's folder, or the file of a ROS 1 bag.

    Args:
        path: Of the folder; the file has `.bag` behind it.
        messages: In the order of their receive times.
        storage: One of `STORAGES`.
        broken: Of a ROS 1 bag: topic -> the text that stands for its definition.
    """
    store = _STORES[storage]
    if storage == "ros1":
        path = path.with_suffix(".bag")
        writer: Any = rosbag1.Writer(path)
        writer.chunk_threshold = CHUNK_BYTES
        writer.set_compression(writer.CompressionFormat.BZ2)
        pack = store.serialize_ros1
    else:
        writer = rosbag2.Writer(path, version=9, storage_plugin=_PLUGINS[storage])
        pack = store.serialize_cdr
    connections: dict[str, Any] = {}
    with writer:
        for each in messages:
            if each.topic not in connections:
                said = {"msgdef": broken[each.topic], "md5sum": "0"} if each.topic in broken else {}
                connections[each.topic] = writer.add_connection(
                    each.topic, each.message_type, typestore=store, **said
                )
            message = _message(store, each)
            data = bytes(pack(message, each.message_type))
            writer.write(connections[each.topic], each.received_ns, data)
    if storage == "mcap":
        rechunk(next(path.glob("*.mcap")))
    return path


def rechunk(path: Path, definitions: Mapping[str, bytes] = MappingProxyType({})) -> None:
    """Write an MCAP file anew as recorders of ROS do, in many chunks with checksums.

    Args:
        path: Of the file.
        definitions: Text of message types whose definition is to be another.
    """
    with path.open("rb") as file:
        found = list(make_reader(file).iter_messages())
    with path.open("wb") as file:
        writer = McapWriter(file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        writer.start("ros2", "test")
        schemas: dict[int, int] = {}
        channels: dict[int, int] = {}
        for schema, channel, message in found:
            if schema is None:
                continue
            if schema.id not in schemas:
                schemas[schema.id] = writer.register_schema(
                    schema.name, schema.encoding, definitions.get(schema.name, schema.data)
                )
            if channel.id not in channels:
                channels[channel.id] = writer.register_channel(
                    channel.topic,
                    channel.message_encoding,
                    schemas[schema.id],
                    dict(channel.metadata),
                )
            writer.add_message(
                channels[channel.id], message.log_time, message.data, message.publish_time
            )
        writer.finish()


def _message(store: Any, each: Recorded) -> Any:
    """Return a message of a type, filled."""
    types, value = store.types, each.value

    def make(message_type: str, **values: Any) -> Any:
        fields = types[message_type].__dataclass_fields__
        return types[message_type](**{k: v for k, v in values.items() if k in fields})

    seconds, nanoseconds = divmod(each.stamp_ns, 10**9)
    header = make(
        "std_msgs/msg/Header",
        seq=0,
        stamp=make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds),
        frame_id="tool0",
    )

    if isinstance(value, Mapping):
        return filled(store, each.message_type, {"header": header, **value})

    def vector(message_type: str, numbers: Any) -> Any:
        return make(message_type, **dict(zip("xyz", map(float, numbers), strict=True)))

    if each.message_type == "geometry_msgs/msg/WrenchStamped":
        vectors = [vector("geometry_msgs/msg/Vector3", part) for part in (value[:3], value[3:])]
        wrench = make("geometry_msgs/msg/Wrench", force=vectors[0], torque=vectors[1])
        return make(each.message_type, header=header, wrench=wrench)
    if each.message_type == "sensor_msgs/msg/JointState":
        nothing = np.empty(0)
        return make(
            each.message_type,
            header=header,
            name=["j1", "j2"],
            position=np.asarray(value, np.float64),
            velocity=nothing,
            effort=nothing,
        )
    if each.message_type == "geometry_msgs/msg/PoseStamped":
        turned = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
        position = vector("geometry_msgs/msg/Point", value)
        pose = make("geometry_msgs/msg/Pose", position=position, orientation=turned)
        return make(each.message_type, header=header, pose=pose)
    if each.message_type == "std_msgs/msg/Bool":
        return make(each.message_type, data=value)
    assert each.message_type == "sensor_msgs/msg/Image", each.message_type
    height, width = value.shape[:2]
    return make(
        each.message_type,
        header=header,
        height=height,
        width=width,
        encoding="rgb8" if value.dtype == np.uint8 else "16UC1",
        is_bigendian=0,
        step=value.nbytes // height,
        data=np.ascontiguousarray(value).view(np.uint8).reshape(-1),
    )
