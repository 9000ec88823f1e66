"""A small bag of example samples, written by the bag writer as a recorder would have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist, TwistStamped, WrenchStamped
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from smvae_tools.bags.writer import BagWriter

from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality

START_NS = 1_700_000_000 * 10**9
MS = 10**6
#: Simulated time at `START_NS`, and how often it is told.
SIMULATED_NS, TICK_NS = 5 * 10**9, 10 * MS
#: What a simulator's command is: it has no stamp.
UNSTAMPED = "geometry_msgs/msg/Twist"
#: Kind -> message class, period and delay of reception [ms].
SENSORS: dict[str, tuple[Any, int, int]] = {
    "color_image": (Image, 100, 6),
    "depth_image": (Image, 100, 9),
    "signal": (WrenchStamped, 4, 1),
    "command": (TwistStamped, 50, 2),
}
TOPICS = {"rgb": "/rgb/image", "depth": "/depth/image", "force": "/wrench", "action": "/action"}


def write_bag(
    path: Path,
    modalities: tuple[Modality, ...],
    seconds: float,
    silence_s: float = 0.0,
    *,
    simulated: bool = False,
) -> Path:
    """Write every modality at its period; stamps of all begin together.

    Args:
        path: Folder to write.
        modalities: All of them.
        seconds: Length without the silence.
        silence_s: Nothing is heard for so long after the first second.
        simulated: Stamps are simulated, commands have none, and /clock is among what was heard.
    """
    writer = BagWriter(path)
    rows: list[tuple[int, str, bytes]] = []
    for modality in modalities:
        cls, period_ms, delay_ms = SENSORS[modality.kind]
        topic, converter = TOPICS[modality.name], modality.converter()
        if simulated and cls is TwistStamped:
            cls, converter = Twist, modality.converter(UNSTAMPED)
        writer.add_topic(topic, converter.message_type)
        for number in range(round(seconds * 1000 / period_ms)):
            stamp = START_NS + number * period_ms * MS
            stamp += round(silence_s * 1e9) if number * period_ms >= 1000 else 0
            sample = modality.example_sample(number)
            if modality.family.is_window:
                sample = np.asarray(sample[0])
            told = stamp - START_NS + SIMULATED_NS if simulated else stamp
            message = converter.fill(
                modality, cls(), sample, told, f"{modality.name}_frame", ConversionOptions()
            )
            rows.append((stamp + delay_ms * MS, topic, serialize_message(message)))
    if simulated:
        writer.add_topic("/clock", "rosgraph_msgs/msg/Clock")
        for after_ns in range(0, round(seconds * 1e9), TICK_NS):
            tick = Clock()
            tick.clock.sec, tick.clock.nanosec = divmod(SIMULATED_NS + after_ns, 10**9)
            rows.append((START_NS + after_ns, "/clock", serialize_message(tick)))
    for received_ns, topic, data in sorted(rows, key=lambda row: row[0]):
        writer.put(topic, received_ns, data)
    writer.finish({})
    return path
