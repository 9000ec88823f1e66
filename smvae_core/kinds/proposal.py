"""What a recording holds on one topic, and what a kind would declare of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, SampleError
from smvae_core.messages.base import ConversionError, ConversionOptions

if TYPE_CHECKING:
    from smvae_core.kinds.base import Converter
    from smvae_core.modality import Modality

#: Members that are no measurement.
_NO_MEASUREMENT = ("header", "layout", "stamp", "seq")
#: Members of times and durations, which are none either.
_TIME = {"sec", "nanosec"}
#: Longer rows of numbers are maps, tables or packed data.
_LONGEST = 64
#: What is no number, and how it can be used all the same.
YES_OR_NO = "yes or no; a target, if wanted: select it, with binary: true"
LIST = "a list of messages; say which numbers in select, such as name[0].x, if each has its place"
#: A number must move by this part of its size, or float32 holds its motion in a few levels.
_SMALLEST_MOTION = 1e-4


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was looked at of one topic: some messages, spread over the recording."""

    topic: str
    message_type: str
    rate_hz: float
    """By the stamps; 0 = unknown."""
    messages: tuple[Any, ...]
    """At least one."""
    received_ns: tuple[int, ...]
    """When each was received."""
    declare: Callable[[str, Mapping[str, Any]], Modality]
    """(kind, keys of robot.yaml) -> the sensor that they declare on this topic."""
    missing: str = ""
    """Where in the recording none of its messages came, in words; '' = nowhere that was seen."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """How a kind would declare a topic."""

    keys: Mapping[str, Any]
    """Of robot.yaml, beside `kind` and `channel`."""
    about: str
    """What was seen, in one line."""
    left_out: tuple[str, ...] = ()
    """What of the messages is not in the sample, each with the reason."""


@dataclass(frozen=True)
class Range:
    """What messages hold of each number, by its path."""

    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    """Members that are no number at the same place in each message: path, and what they are."""

    def split(self) -> tuple[list[str], list[str]]:
        """Return the paths that can be used, and a line for each group of others."""
        moving: list[str] = []
        others: dict[str, list[str]] = {}
        for path, values in self.values.items():
            if why := _useless(values):
                others.setdefault(why, []).append(path)
            else:
                moving.append(path)
        lines = [f"{listed(paths)}: {why}" for why, paths in others.items()]
        return moving, [*lines, *self.others]

    def of(self, paths: Iterable[str]) -> Range:
        """Return some of the numbers, and nothing of what are none."""
        return Range({path: self.values[path] for path in paths})

    def extent(self, paths: Iterable[str]) -> str:
        """Return in words where the numbers lie."""
        every = np.concatenate([self.values[path] for path in paths])
        return f"{every.min():.4g} to {every.max():.4g}"


def _useless(values: NDArray[np.float64]) -> str:
    if not np.isfinite(values).all():
        return "NaN or infinite"
    low, high = float(values.min()), float(values.max())
    if low == high:
        return f"never changes ({low:g})"
    if high - low < _SMALLEST_MOTION * max(abs(low), abs(high)):
        return f"moves too little for its size ({low:.8g} to {high:.8g})"
    return ""


def listed(paths: list[str], most: int = 8) -> str:
    """Return names in a row, the first ones of many."""
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(paths[:most]) + more


def numbers(messages: Iterable[Any]) -> Range:
    """Return the numbers that stand at the same place in all messages, and what else they hold."""
    held = [dict(_members(message, "")) for message in messages]
    rows = [{p: v for p, v in each.items() if isinstance(v, float)} for each in held]
    alike = [path for path in rows[0] if all(path in row for row in rows)]
    others: dict[str, list[str]] = {}
    for path in dict.fromkeys(path for each in held for path in each):
        if path not in alike:
            found = [each[path] for each in held if path in each]
            others.setdefault(_other(found), []).append(path)
    lines = tuple(f"{listed(paths)}: {what}" for what, paths in others.items())
    return Range({path: np.array([row[path] for row in rows], np.float64) for path in alike}, lines)


def _other(found: list[float | str]) -> str:
    """Return what is at a path that is no number in all messages."""
    words = [each for each in found if isinstance(each, str)]
    return words[0] if words else "not in all messages: a list whose length changes"


def _members(value: Any, path: str) -> Iterator[tuple[str, float | str]]:
    """Yield each number of a message with its path, and of what is none the word for it."""
    if is_dataclass(value):
        members = [member.name for member in fields(value)]
        for name in () if {*members} >= _TIME else members:
            if name.isupper() or name in _NO_MEASUREMENT or "covariance" in name:
                continue  # a constant in capitals is a member for rosbags
            yield from _members(getattr(value, name), f"{path}.{name}".removeprefix("."))
    elif isinstance(value, bool | np.bool_):
        yield path, YES_OR_NO
    elif isinstance(value, int | float | np.number):
        yield path, float(value)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size:
        if value.size > _LONGEST:
            yield path, f"a row of more than {_LONGEST} numbers; say which in select"
        else:
            yield from ((f"{path}[{i}]", float(v)) for i, v in enumerate(value.reshape(-1)))
    elif isinstance(value, list) and value and is_dataclass(value[0]):
        yield path, LIST
    elif isinstance(value, np.ndarray) and value.dtype.kind == "b" and value.size:
        yield path, YES_OR_NO


def converted(
    modality: Modality, converter: Converter, seen: Seen
) -> tuple[list[NDArray[Any]], list[str]]:
    """Return the samples of those messages that can be read, and why the others cannot.

    Raises:
        ConfigError: If none can be; says why the first cannot.
    """
    tried = [_converted(modality, converter, message) for message in seen.messages]
    refused = [each for each in tried if isinstance(each, str)]
    if len(refused) == len(tried):
        raise ConfigError(refused[0])
    return [each for each in tried if not isinstance(each, str)], refused


def _converted(modality: Modality, converter: Converter, message: Any) -> NDArray[Any] | str:
    """Return a sample, or why the message is none."""
    try:
        return converter.to_array(modality, message, ConversionOptions())
    except (ConversionError, SampleError) as err:
        return str(err).removeprefix(f"{modality.name}: ")


def counted(number: int, of: str) -> str:
    """Return '1 number' or '3 numbers'."""
    return f"{number} {of}{'s' * (number != 1)}"


def rounded_up(value: float, digits: int = 2) -> float:
    """Return the next number of so few digits that is not smaller."""
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{math.ceil(value / step - 0.05) * step:.{digits + 1}g}")


def words(topic: str) -> list[str]:
    """Return the words of a topic's name."""
    return topic.lower().replace("/", "_").split("_")
