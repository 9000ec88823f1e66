"""What the conversions of all kinds share: errors, options, stamps, reading fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, SMVAEError
from smvae_core.modality import Modality


class ConversionError(SMVAEError, ValueError):
    """A message that cannot become a sample of its modality; counted by its `reason`."""

    def __init__(self, modality: str, reason: str, *, expected: object, got: object) -> None:
        """Build the message.

        Args:
            modality: Name of the modality.
            reason: One short word to count by: encoding, size, step, nan, stamp, field.
            expected: What would be right.
            got: What came.
        """
        self.reason = reason
        super().__init__(f"{modality}: {reason}: expected {expected}, got {got}")


@dataclass(frozen=True, kw_only=True)
class ConversionOptions:
    """What a robot may have to tell about its messages."""

    depth_scale: float = 0.0
    """Metres per unit of a depth image; 0 = by encoding (32FC1 metres, 16 bit millimetres)."""
    step_time_s: float = 0.05
    """Time that one commanded displacement takes: displacement = twist x step time."""

    def __post_init__(self) -> None:
        if not (self.depth_scale >= 0 and math.isfinite(self.depth_scale)):
            raise ConfigError(
                f"depth_scale must be 0 (by encoding) or positive, got {self.depth_scale}"
            )
        if not (self.step_time_s > 0 and math.isfinite(self.step_time_s)):
            raise ConfigError(f"step_time_s must be positive, got {self.step_time_s}")


@dataclass(frozen=True)
class Converter:
    """Message <-> SI array of one kind."""

    message_type: str
    """ROS type, e.g. 'sensor_msgs/msg/Image'."""
    to_array: Callable[[Modality, Any, ConversionOptions], NDArray[Any]]
    """(modality, message, options) -> sample; raises ConversionError."""
    fill: Callable[..., Any]
    """(modality, empty message, sample, stamp_ns, frame_id, options) -> that message, filled."""
    encoding: str = ""
    """Of the image messages that `fill` makes."""


def stamp_ns(message: Any) -> int:
    """Return a stamped message's acquisition time in nanoseconds.

    Messages of rosbags spell the second field nanosec too.
    """
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def set_header(message: Any, stamp: int, frame_id: str) -> None:
    """Write stamp [ns] and frame into a message's header."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(int(stamp), 1_000_000_000)
    message.header.frame_id = frame_id


def read_fields(modality: Modality, root: Any, fields: Sequence[str]) -> NDArray[np.float64]:
    """Return the named numbers below `root`, e.g. fields ('force.x', ...) of a Wrench, as (C,).

    Raises:
        ConversionError: If a field is missing or not finite.
    """
    values = np.empty(len(fields))
    for index, field in enumerate(fields):
        value = root
        try:
            for part in field.split("."):
                value = getattr(value, part)
        except AttributeError:
            raise ConversionError(
                modality.name, "field", expected=field, got=type(root).__name__
            ) from None
        values[index] = value
    if not np.isfinite(values).all():
        bad = [f for f, v in zip(fields, values, strict=True) if not math.isfinite(v)]
        raise ConversionError(modality.name, "nan", expected="finite numbers", got=", ".join(bad))
    return values


def write_fields(root: Any, fields: Sequence[str], values: NDArray[Any]) -> None:
    """Set the named numbers below `root`; the inverse of `read_fields`."""
    for field, value in zip(fields, values, strict=True):
        *path, last = field.split(".")
        target = root
        for part in path:
            target = getattr(target, part)
        setattr(target, last, float(value))
