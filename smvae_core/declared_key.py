"""One key of a robot's declaration: its name, its default, and what its value must be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a sensor in robot.yaml that only sensors of its kind have."""

    name: str
    read: Callable[[Any], Any]
    """Value of the file -> value; raises ValueError, which says what is expected."""
    default: Any = None
    """As the file would say it; None = the kind derives it from others, or it must be said."""
    description: str

    def usual(self) -> Any:
        """Return the default as `read` gives it."""
        return None if self.default is None else self.read(self.default)


def number(value: Any) -> float:
    """Return a finite number.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number")
    return float(value)


def whole(value: Any) -> int:
    """Return a whole number.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")
    return value


def text(value: Any) -> str:
    """Return text that is not empty.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(value, str) or not value:
        raise ValueError("text")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """Return a list of different texts, at least one.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value) or not value:
        raise ValueError("a list of names, such as [a, b]")
    twice = [v for v in dict.fromkeys(value) if value.count(v) > 1]
    if twice:
        raise ValueError(f"different names, '{twice[0]}' once")
    return tuple(value)


def pair(of: Callable[[Any], Any], example: str) -> Callable[[Any], Any]:
    """Return what reads a list of two values."""

    def read(value: Any) -> tuple[Any, Any]:
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(f"a list of two, such as {example}")
        return of(value[0]), of(value[1])

    return read
