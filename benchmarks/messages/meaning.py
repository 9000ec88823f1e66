"""What a message means, as the second reading of every format gives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass
class Meaning:
    """What a message means: an array, or the reasons for which it means nothing."""

    array: NDArray[Any] | None = None
    reasons: set[str] = field(default_factory=set)
    """A refusal must give one of these; with an array too, either is right."""
    tolerance: float = 0.0
    """Largest difference that the format leaves open."""


def refused(*reasons: str) -> Meaning:
    """Return the meaning of a message that has one of several faults."""
    return Meaning(None, set(reasons))
