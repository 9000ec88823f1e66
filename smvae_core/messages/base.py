"""What the conversions of all kinds share: errors, options, stamps, reading fields."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, SMVAEError

if TYPE_CHECKING:
    from smvae_core.modality import Modality

#: Every reason for which a message is refused; counters and diagnostics use these words.
REASONS = (
    "encoding",  # pixels of a kind that the modality cannot be made of
    "size",  # width, height or number of values do not match, or are impossible
    "step",  # bytes per row or per point do not hold what they must
    "nan",  # a number that is not finite
    "range",  # a number that no robot can mean, see LARGEST
    "empty",  # depth without a single return
    "stamp",  # no acquisition time
    "field",  # a member, joint or point field that is missing or of the wrong type
    "format",  # CompressedImage.format names another codec than needed, or than the data are
    "header",  # compressedDepth's own header is missing or impossible
    "decode",  # a damaged or truncated JPEG or PNG
    "organised",  # a point cloud that is not an image (height 1)
)


#: A message's seconds have 32 bits.
_EARLIEST_NS, _LATEST_NS = -(2**31) * 1_000_000_000, 2**31 * 1_000_000_000 - 1

#: Largest number that is taken for a force, torque or displacement [N, N m, m, rad]. What is odd
#: but possible is warned of (`plausibility`), what no robot can mean is refused here.
LARGEST = 1e6
#: So many joints of others are named.
_NAMED = 6


class ConversionError(SMVAEError, ValueError):
    """A message that cannot become a sample of its modality; counted by its `reason`."""

    def __init__(self, modality: str, reason: str, *, expected: object, got: object) -> None:
        """Build the message.

        Args:
            modality: Name of the modality.
            reason: One of REASONS.
            expected: What would be right.
            got: What came.
        """
        assert reason in REASONS, reason
        self.reason = reason
        super().__init__(f"{modality}: {reason}: expected {expected}, got {got}")


@dataclass(frozen=True, kw_only=True)
class ConversionOptions:
    """What a robot may have to tell about its messages."""

    depth_scale: float = 0.0
    """Metres per unit of a depth image; 0 = by encoding (32FC1 metres, 16 bit millimetres)."""
    step_time_s: float = 0.05
    """Time that one commanded displacement takes: displacement = twist x step time."""
    joint_names: tuple[str, ...] = ()
    """Joints of a JointState in the modality's order; empty = they are named as its fields are."""
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Values of the kind's own parameters, by name."""

    def __post_init__(self) -> None:
        if not (self.depth_scale >= 0 and math.isfinite(self.depth_scale)):
            raise ConfigError(
                f"depth_scale must be 0 (by encoding) or positive, got {self.depth_scale}"
            )
        if not (self.step_time_s > 0 and math.isfinite(self.step_time_s)):
            raise ConfigError(f"step_time_s must be positive, got {self.step_time_s}")
        if len(set(self.joint_names)) != len(self.joint_names):
            raise ConfigError(f"joint_names must differ, got {', '.join(self.joint_names)}")


def has_stamp(message: Any) -> bool:
    """Return whether a message carries its acquisition time.

    One without a header (std_msgs/Float32MultiArray) counts as acquired when it arrived.
    """
    return hasattr(message, "header")


def stamp_ns(message: Any, arrival_ns: int | None = None) -> int:
    """Return a message's acquisition time in nanoseconds.

    Args:
        message: Of rclpy or rosbags, which spell the second field nanosec too.
        arrival_ns: Time of arrival, which a message without a header gets.

    Raises:
        ConversionError: If the message has no header and no time of arrival is given.
    """
    if not has_stamp(message):
        if arrival_ns is None:
            name = type(message).__name__
            raise ConversionError(name, "stamp", expected="a header, or a time of arrival", got="-")
        return int(arrival_ns)
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def time_fields(time_ns: int) -> tuple[int, int]:
    """Return a time [ns] as seconds and nanoseconds of a message: the nearest that it can hold.

    Drivers set stamps that none can be, such as DDS's infinite time.
    """
    return divmod(min(max(time_ns, _EARLIEST_NS), _LATEST_NS), 1_000_000_000)


def set_header(message: Any, stamp: int, frame_id: str) -> None:
    """Write stamp [ns] and frame into a message's header, where it has one."""
    if not has_stamp(message):
        return
    message.header.stamp.sec, message.header.stamp.nanosec = time_fields(int(stamp))
    message.header.frame_id = frame_id


def read_member(name: str, message: Any, member: str) -> Any:
    """Return one member of a message.

    Raises:
        ConversionError: If the message has none of that name; `name` is the modality's.
    """
    try:
        return getattr(message, member)
    except AttributeError:
        got = type(message).__name__
        raise ConversionError(name, "field", expected=f"a message with {member}", got=got) from None


def read_whole(name: str, message: Any, member: str) -> int:
    """Return one member of a message that must be a whole number; see `read_member`."""
    value = read_member(name, message, member)
    if not isinstance(value, int | np.integer | np.bool_):
        raise ConversionError(name, "field", expected=f"a whole number {member}", got=repr(value))
    return int(value)


def read_text(name: str, message: Any, member: str) -> str:
    """Return one member of a message that must be text; see `read_member`."""
    value = read_member(name, message, member)
    if not isinstance(value, str):
        raise ConversionError(name, "field", expected=f"text in {member}", got=repr(value))
    return value


def as_bytes(value: Any) -> NDArray[np.uint8]:
    """Return what a field uint8[] holds as (N,), shared where it can be.

    rclpy gives array.array, rosbags numpy, others bytes, memoryview or a list. In Lyrical a driver
    may keep the bytes in its own memory, e.g. a GPU's: rosidl_buffer.Buffer, which is no buffer of
    Python's and is read by `to_bytes()`.

    Raises:
        TypeError: If it holds no bytes.
        ValueError: If a list has a number that is no byte.
    """
    if isinstance(value, list | tuple):
        value = bytes(value)
    elif hasattr(value, "__len__") and hasattr(value, "to_bytes"):
        value = value.to_bytes()
    view = memoryview(value)
    if view.ndim == 0 or view.itemsize != 1:
        raise TypeError(f"no row of bytes: {view.ndim} axes of {view.itemsize} bytes")
    return np.asarray(view).reshape(-1).view(np.uint8)


def read_bytes(name: str, message: Any) -> NDArray[np.uint8]:
    """Return `message.data` as bytes (N,), whatever holds them; see `as_bytes`, `read_member`."""
    value = read_member(name, message, "data")
    try:
        return as_bytes(value)
    except (TypeError, ValueError):
        got = type(value).__name__
        raise ConversionError(name, "field", expected="data as bytes", got=got) from None


def read_numbers(name: str, values: Any, what: str) -> NDArray[np.float64]:
    """Return a sequence of numbers (N,), checked for type but not for being finite.

    Raises:
        ConversionError: If they are not numbers in a row; `what` says which.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty((0, 0))
    if array.ndim != 1:
        raise ConversionError(name, "field", expected=f"numbers in {what}", got=repr(values))
    return array


def read_list(name: str, message: Any, member: str) -> list[Any]:
    """Return one member of a message that must be a sequence; see `read_member`."""
    value = read_member(name, message, member)
    try:
        return list(value)
    except TypeError:
        raise ConversionError(
            name, "field", expected=f"a sequence {member}", got=repr(value)
        ) from None


def joints_of_others(message: Any, joints: Collection[str]) -> str:
    """Return what joints a JointState names, if it names none of these; else ''.

    Arm and gripper commonly publish on one topic, each its own joints.
    """
    names = [str(name) for name in getattr(message, "name", ())]
    if not names or not joints or not set(names).isdisjoint(joints):
        return ""
    return f"joints {', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}"


def finite(
    modality: Modality, values: NDArray[np.float64], labels: Sequence[str], scale: float = 1.0
) -> NDArray[np.float32]:
    """Return values (C,) times `scale` as float32.

    Raises:
        ConversionError: If one is not finite in 32 bits or beyond LARGEST; `labels` name them.
    """
    if np.abs(values).max(initial=0.0) * abs(scale) <= LARGEST:  # also not where one is NaN
        good: NDArray[np.float32] = (values * scale).astype(np.float32)
        return good
    with np.errstate(over="ignore", invalid="ignore"):
        small = (values * scale).astype(np.float32)
    if not np.isfinite(small).all():
        bad = [label for label, ok in zip(labels, np.isfinite(small), strict=True) if not ok]
        raise ConversionError(modality.name, "nan", expected="finite numbers", got=", ".join(bad))
    if (np.abs(small) > LARGEST).any():
        got = ", ".join(f"{n} {v:.4g}" for n, v in zip(labels, small, strict=True))
        raise ConversionError(modality.name, "range", expected=f"at most {LARGEST:g}", got=got)
    return small


def read_below(name: str, message: Any, path: str) -> Any:
    """Return what stands at a path below a message, e.g. 'pose.position' or 'data[3]'.

    Raises:
        ConversionError: If there is nothing; `name` is the modality's. '' is the message itself.
    """
    for part in path.split(".") if path else ():
        member, bracket, index = part.partition("[")
        message = read_member(name, message, member)
        if bracket:
            try:
                message = message[int(index.rstrip("]"))]
            except (IndexError, TypeError, ValueError):
                got = type(message).__name__
                raise ConversionError(name, "field", expected=part, got=got) from None
    return message


def _step(value: Any, part: str) -> Any:
    """Return one member, or one element of it: 'x', 'position[2]'."""
    member, bracket, index = part.partition("[")
    value = getattr(value, member)
    return value[int(index.rstrip("]"))] if bracket else value


@lru_cache
def _getter(fields: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]] | None:
    """Return what reads all of these at once; None where it takes more than attributes."""
    if len(fields) < 2 or any("[" in field for field in fields):
        return None
    return attrgetter(*fields)


def read_fields(modality: Modality, root: Any, fields: Sequence[str]) -> NDArray[np.float64]:
    """Return the named numbers below `root`, e.g. fields ('force.x', ...) of a Wrench, as (C,).

    Raises:
        ConversionError: If a field is missing or not a number, or the modality names none.
    """
    if not fields:
        raise ConversionError(
            modality.name, "field", expected="a modality that names its fields", got="none"
        )
    if (quick := _getter(tuple(fields))) is not None:
        with suppress(AttributeError, TypeError, ValueError, OverflowError):
            return np.fromiter(map(float, quick(root)), np.float64, len(fields))
    values = np.empty(len(fields))  # one by one, to say which of them is wrong
    for index, field in enumerate(fields):
        value = root
        try:
            for part in field.split("."):
                value = _step(value, part)
            values[index] = float(value)
        except (AttributeError, IndexError, TypeError, ValueError, OverflowError):
            got = type(root).__name__
            raise ConversionError(modality.name, "field", expected=field, got=got) from None
    return values


def _alike(held: Any, value: Any) -> float | int | bool:
    """Return a number in the type of the one that a message holds."""
    if isinstance(held, bool | np.bool_):
        return bool(value >= 0.5)
    return round(float(value)) if isinstance(held, int | np.integer) else float(value)


def write_fields(root: Any, fields: Sequence[str], values: NDArray[Any]) -> None:
    """Set the named numbers below `root`; the inverse of `read_fields`.

    A list is prolonged by zeros where an element behind its end is named. A whole number gets the
    nearest one.
    """
    for field, value in zip(fields, values, strict=True):
        *path, last = field.split(".")
        target = root
        for part in path:
            target = _step(target, part)
        member, bracket, index = last.partition("[")
        if not bracket:
            setattr(target, member, _alike(getattr(target, member), value))
            continue
        held, at = getattr(target, member), int(index.rstrip("]"))
        if hasattr(held, "append"):
            zero = 0.0 if getattr(held, "typecode", "d") in "fd" else 0
            held.extend([zero] * (at + 1 - len(held)))
        held[at] = _alike(held[at], value)
