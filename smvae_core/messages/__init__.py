"""What conversions of all kinds share: fields, stamps, images, clouds; live and offline the same.

Messages are duck-typed: those of rclpy and of rosbags have the same fields. No ROS is imported.
"""

from smvae_core.messages.base import (
    REASONS,
    ConversionError,
    ConversionOptions,
    has_stamp,
    stamp_ns,
    time_fields,
)
from smvae_core.messages.image_data import decoder

__all__ = [
    "REASONS",
    "ConversionError",
    "ConversionOptions",
    "decoder",
    "has_stamp",
    "stamp_ns",
    "time_fields",
]
