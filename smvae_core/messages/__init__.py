"""Messages <-> SI arrays, one module per kind; the only implementation, live and offline.

Messages are duck-typed: those of rclpy and of rosbags have the same fields. No ROS is imported.
"""

from smvae_core.messages.base import (
    REASONS,
    ConversionError,
    ConversionOptions,
    Converter,
    has_stamp,
    stamp_ns,
)
from smvae_core.messages.image_data import decoder
from smvae_core.messages.plausibility import plausibility
from smvae_core.messages.table import (
    CONVERTERS,
    MESSAGE_TYPES,
    converter,
    require_converters,
)

__all__ = [
    "CONVERTERS",
    "MESSAGE_TYPES",
    "REASONS",
    "ConversionError",
    "ConversionOptions",
    "Converter",
    "converter",
    "decoder",
    "has_stamp",
    "plausibility",
    "require_converters",
    "stamp_ns",
]
