"""Which numbers of a message a sensor reads: two sensors may share a topic where these differ.

One number that two sensors read would count as two pieces of evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple


class Reads(NamedTuple):
    """What a sensor reads of each message."""

    name: str
    """The sensor."""
    by: str = ""
    """How numbers are named: 'path' of a member, or 'joint'; '' = all of the message is read."""
    members: frozenset[str] = frozenset()


def clash(place: str, first: Reads, second: Reads) -> str:
    """Return '' or why two sensors cannot have one topic or column, and what would be right.

    Where numbers are named in two ways it is not known which are the same.
    """
    alike = bool(first.by) and first.by == second.by
    both = first.members & second.members
    if alike and not both:
        return ""
    why = f"both read {', '.join(sorted(both))}" if alike else "one message would count as two"
    return (
        f"{first.name} and {second.name} cannot both be read from {place}: {why}; let them select "
        "different numbers (two of signal and vector) or joints (two of joint_state, with names), "
        "give one of them another topic, or disable it"
    )


def first_clash(found: Iterable[tuple[str, Reads]]) -> str:
    """Return '' or why two of some sensors cannot be, each with its topic or column; '' = none."""
    told = (
        clash(place, first, second)
        for (place, first), (other, second) in combinations(found, 2)
        if place and place == other
    )
    return next(filter(None, told), "")
