"""Whose stamps are of another clock than those of most sensors: no moment holds both.

A message without stamp counts from when it came, by the node's clock: that is when it was received,
or what /clock said then, see `smvae_core.recorded_clock`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from smvae_core.kinds.proposal import Seen
from smvae_core.messages import has_stamp, stamp_ns
from smvae_core.recorded_clock import APART_S, CLOCK, time_ns

#: Stamps that are further apart are odd: most sensors are fused within less [s].
_ODD_S = 1.0
#: Names that are listed of the sensors whose clock is another.
_NAMED = 3


class Clock(NamedTuple):
    """When messages of a sensor say that they were made."""

    lead_s: float
    """Their stamps minus the node's clock as they were received, without `stamp_offset_s`."""
    is_stamped: bool
    """Whether they have stamps; without, what counts is when they were received."""


def clock_of(seen: Seen, offset_s: float = 0.0, ticks: Seen | None = None) -> Clock:
    """Return the clock of a topic's messages.

    Args:
        seen: What was looked at.
        offset_s: The sensor's `stamp_offset_s`.
        ticks: What was looked at of /clock, where that is the node's clock.
    """
    clock_ns = _at(ticks, seen.received_ns) if ticks else seen.received_ns
    tried = zip(seen.messages, clock_ns, strict=True)
    leads = [(stamp_ns(message, clock) - clock) * 1e-9 for message, clock in tried]
    return Clock(float(np.median(leads)) - offset_s, has_stamp(seen.messages[0]))


def _at(ticks: Seen, received_ns: Sequence[int]) -> list[int]:
    """Return what /clock said at some times, about: a few of its messages were looked at."""
    leads = [time_ns(m) - ns for m, ns in zip(ticks.messages, ticks.received_ns, strict=True)]
    at = np.interp(received_ns, ticks.received_ns, leads)
    return [ns + round(lead) for ns, lead in zip(received_ns, at.tolist(), strict=True)]


def counts_from(clock: Clock, ticks: Seen | None) -> str:
    """Return '' or from when messages without stamp count beside simulated ones."""
    if clock.is_stamped or ticks is None:
        return ""
    between_ns = np.diff([time_ns(message) for message in ticks.messages])
    passed = between_ns[between_ns > 0]
    early = f", up to {float(np.median(passed)) * 1e-9:.3g} s early" if len(passed) else ""
    return f"no stamp: counts from the newest {CLOCK} when it came{early}"


def of_another_clock(
    clocks: Mapping[str, Clock], beside: Mapping[str, Clock], *, simulated: bool = False
) -> dict[str, str]:
    """Return whose stamps lie far from those of most sensors, and what would be right.

    Args:
        clocks: Of each sensor whose messages can be read.
        beside: Of what is judged by them and is none itself, such as targets.
        simulated: Whether the node's clock is /clock.
    """
    found, others = _apart(clocks, beside, APART_S)
    return {
        name: _told(clock, f"{abs(apart_s):.0f} s {_side(apart_s, others)}", simulated)
        for name, (clock, apart_s) in found.items()
    }


def of_an_early_or_late_clock(
    clocks: Mapping[str, Clock], beside: Mapping[str, Clock]
) -> dict[str, str]:
    """Return whose stamps lie some seconds from those of most sensors, as a remark.

    Args:
        clocks: Of each sensor whose messages can be read.
        beside: Of what is judged by them and is none itself, such as targets.
    """
    found, others = _apart(clocks, beside, _ODD_S)
    told = {}
    for name, (clock, apart_s) in found.items():
        what = "its stamps are" if clock.is_stamped else "no stamp: counts from when it came,"
        mended = f"; if its clock is wrong, say stamp_offset_s: {apart_s:.2f}"
        told[name] = (
            f"{what} {abs(apart_s):.1f} s {_side(apart_s, others)}: beyond max_skew_s no moment "
            f"holds both{mended if clock.is_stamped and name in clocks else ''}"
        )
    return told


def _apart(
    clocks: Mapping[str, Clock], beside: Mapping[str, Clock], far_s: float
) -> tuple[dict[str, tuple[Clock, float]], list[str]]:
    """Return whose stamps lie further than that from those of most sensors, how far, and of whose.

    Those are the most sensors that lie together within that time.
    """
    if not clocks:
        return {}, []
    near = {
        name: [n for n, c in clocks.items() if abs(c.lead_s - clock.lead_s) <= far_s]
        for name, clock in clocks.items()
    }
    usual = max(near, key=lambda name: (len(near[name]), clocks[name].is_stamped))
    apart = {
        name: (clock, clock.lead_s - clocks[usual].lead_s)
        for name, clock in {**clocks, **beside}.items()
    }
    return {name: each for name, each in apart.items() if abs(each[1]) > far_s}, near[usual]


def _side(apart_s: float, others: list[str]) -> str:
    more = len(others) - _NAMED
    listed = ", ".join(others[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{'ahead of' if apart_s > 0 else 'behind'} the stamps of {listed}"


def _told(clock: Clock, side: str, simulated: bool) -> str:
    if clock.is_stamped and simulated:
        return (
            f"its stamps are of another clock, {side}, which are of {CLOCK}: a node with "
            "use_sim_time cannot fuse it either: let its driver use simulated time, or leave it out"
        )
    if clock.is_stamped:
        return (
            f"its stamps are of another clock, {side}, so no moment holds both: set the clock, say "
            "stamp_offset_s, or leave it out"
        )
    return (
        f"its messages have no stamp and count from when they were received, {side}, so no moment "
        f"holds both: record {CLOCK} too, or simulated time with `ros2 bag record --use-sim-time`, "
        "or leave it out"
    )
