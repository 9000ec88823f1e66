"""Whose stamps are of another clock than those of most sensors: no moment holds both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from smvae_core.kinds.proposal import Seen
from smvae_core.messages import has_stamp, stamp_ns

#: Stamps that are further apart are of two clocks; less may be a delay [s].
_APART_S = 10.0
#: Names that are listed of the sensors whose clock is another.
_NAMED = 3


class Clock(NamedTuple):
    """When messages of a sensor say that they were made."""

    lead_s: float
    """Their stamps minus the time at which they were received, without `stamp_offset_s`."""
    is_stamped: bool
    """Whether they have stamps; without, what counts is when they were received."""


def clock_of(seen: Seen, offset_s: float = 0.0) -> Clock:
    """Return the clock of a topic's messages.

    Args:
        seen: What was looked at.
        offset_s: The sensor's `stamp_offset_s`.
    """
    tried = zip(seen.messages, seen.received_ns, strict=True)
    leads = [(stamp_ns(message, received) - received) * 1e-9 for message, received in tried]
    return Clock(float(np.median(leads)) - offset_s, has_stamp(seen.messages[0]))


def of_another_clock(clocks: Mapping[str, Clock], beside: Mapping[str, Clock]) -> dict[str, str]:
    """Return whose stamps lie far from those of most sensors, and what would be right.

    Args:
        clocks: Of each sensor whose messages can be read.
        beside: Of what is judged by them and is none itself, such as targets.
    """
    if not clocks:
        return {}
    near = {
        name: [n for n, c in clocks.items() if abs(c.lead_s - clock.lead_s) <= _APART_S]
        for name, clock in clocks.items()
    }
    usual = max(near, key=lambda name: (len(near[name]), clocks[name].is_stamped))
    found = {}
    for name, clock in {**clocks, **beside}.items():
        apart_s = clock.lead_s - clocks[usual].lead_s
        if abs(apart_s) > _APART_S:
            found[name] = _told(clock, apart_s, near[usual])
    return found


def _told(clock: Clock, apart_s: float, others: list[str]) -> str:
    more = len(others) - _NAMED
    listed = ", ".join(others[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    side = f"{abs(apart_s):.0f} s {'ahead of' if apart_s > 0 else 'behind'} the stamps of {listed}"
    if clock.is_stamped:
        return (
            f"its stamps are of another clock, {side}, so no moment holds both: set the clock, say "
            "stamp_offset_s, or leave it out"
        )
    return (
        f"its messages have no stamp and count from when they were received, {side}, so no moment "
        "holds both: record simulated time with `ros2 bag record --use-sim-time`, or leave it out"
    )
