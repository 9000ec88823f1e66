"""Damaged messages for a live node, each with what must become of it.

Messages come from the corpus (`benchmarks.messages.corpus`), which knows what each means by a
second reading; stamps are fresh, or wrong on purpose.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message

from benchmarks.messages import corpus
from benchmarks.messages.outcomes import OF_STAMPS, reading
from benchmarks.messages.wire import message_class, to_ros
from smvae_core.fusion.rules import OF_OTHERS
from smvae_core.fusion.source import Source as Reader
from smvae_core.messages import ConversionOptions

#: Message type of each modality by round; the node is set to them in between.
ROUNDS: tuple[dict[str, str], ...] = (
    {
        "rgb": "sensor_msgs/msg/Image",
        "depth": "sensor_msgs/msg/Image",
        "force": "geometry_msgs/msg/WrenchStamped",
        "action": "geometry_msgs/msg/TwistStamped",
    },
    {
        "rgb": "sensor_msgs/msg/CompressedImage",
        "depth": "sensor_msgs/msg/CompressedImage",
        "force": "geometry_msgs/msg/WrenchStamped",
        "action": "sensor_msgs/msg/JointState",
    },
    {
        "rgb": "sensor_msgs/msg/CompressedImage",
        "depth": "sensor_msgs/msg/PointCloud2",
        "force": "geometry_msgs/msg/WrenchStamped",
        "action": "std_msgs/msg/Float32MultiArray",
    },
)
#: As the node is set.
OPTIONS = ConversionOptions(joint_names=corpus.JOINTS)
#: How often a message is damaged so many times.
_DAMAGES = (0, 1, 1, 1, 1, 1, 1, 2, 2, 3)
_STAMP_FAULTS = (*OF_STAMPS, "stamp not increasing")
_STAMP_FAULT_SHARE = 0.06
_FUTURE_NS = 20 * 10**9


class Damaged(NamedTuple):
    """One message, and what must become of it."""

    name: str
    """Its modality."""
    ros: Any
    """As it comes out of the wire's serialisation, which cuts numbers to their width."""
    expected: str
    """'converted', or the reason for which it is to be rejected."""
    damaged: bool
    """Whether it differs from a well-formed message."""
    stamp_ns: int
    """Of its header; 0 without one."""


class Source:
    """Draws messages of a round."""

    def __init__(self, types: Mapping[str, str], rng: np.random.Generator) -> None:
        """Prepare.

        Args:
            types: Message type of each modality.
            rng: All follows from it.
        """
        self._rng = rng
        self._makers = {m.name: (m, t, make) for m, t, make in corpus.MAKERS if types[m.name] == t}
        self._newest: dict[str, int] = {}

    def draw(self, name: str, stamp_ns: int, *, well_formed: bool = False) -> Damaged:
        """Return a message of a modality, stamped with this fresh stamp or with a wrong one.

        Raises:
            Disagreement: If the conversions themselves do not do with it what it means.
        """
        rng = self._rng
        modality, message_type, make = self._makers[name]
        message = make(rng, OPTIONS)
        intact = copy.deepcopy(message)
        for _ in range(0 if well_formed else int(rng.choice(_DAMAGES))):
            corpus.damage(rng, message)
        if not hasattr(message, "header"):
            ros = _through_the_wire(message, message_type)
            sample = corpus.Sample(modality, message_type, ros, OPTIONS)
            return Damaged(name, ros, _used(sample), message != intact, 0)
        fault = ""
        if not well_formed and rng.random() < _STAMP_FAULT_SHARE:
            fault = str(rng.choice(_STAMP_FAULTS))
        if fault == "stamp not increasing" and name not in self._newest:
            fault = ""
        stamp_ns = {
            "": stamp_ns,
            "zero stamp": 0,
            "future stamp": stamp_ns + _FUTURE_NS,
            "stamp not increasing": self._newest.get(name, 0),
        }[fault]
        for one in (message, intact):
            one.header.stamp.sec, one.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        ros = _through_the_wire(message, message_type)
        sample = corpus.Sample(modality, message_type, ros, OPTIONS)
        read = _used(sample) if fault != "zero stamp" else "zero stamp"
        expected = self._expected(name, read, fault)
        return Damaged(name, ros, expected, bool(fault) or message != intact, stamp_ns)

    def _expected(self, name: str, read: str, fault: str) -> str:
        """Return what the node does, which looks at stamps first and decodes images last.

        A force reading is converted in its callback, so that its stamp counts only if it is right.
        """
        if fault in OF_STAMPS:
            return fault
        if read == OF_OTHERS or (name == "force" and read != "converted"):
            return read
        return fault or read

    def sent(self, message: Damaged) -> None:
        """Note the newest stamp that the node has stored."""
        refused_at_once = message.expected in (*_STAMP_FAULTS, OF_OTHERS) or (
            message.name == "force" and message.expected != "converted"
        )
        if message.stamp_ns and not refused_at_once:
            self._newest[message.name] = message.stamp_ns


def _used(sample: corpus.Sample) -> str:
    """Return what becomes of a message in the node, see `reading`.

    A depth image that is read well is still refused where nothing lies within the model's range.
    """
    source = Reader(converter=sample.modality.converter(sample.message_type), options=OPTIONS)
    if source.of_others(sample.modality, sample.message):
        return OF_OTHERS
    read, limits = reading(sample), getattr(sample.modality.options, "range_m", None)
    if read != "converted" or limits is None:
        return read
    depth = sample.meaning().array
    return read if ((depth > limits[0]) & (depth < limits[1])).any() else "empty"


def _through_the_wire(plain: Any, message_type: str) -> Any:
    cls = message_class(message_type)
    return deserialize_message(serialize_message(to_ros(plain, cls)), cls)
