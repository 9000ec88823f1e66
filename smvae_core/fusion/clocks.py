"""Whose clock differs: modalities whose messages arrive together and are stamped far apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: What arrives further behind the others than this is not of their moment, whatever its rhythm.
LONGEST_LAG_S = 0.2


class Doubt(NamedTuple):
    """What is wrong with the stamps of one modality."""

    text: str
    """For people: who differs from whom, by how much, and what would mend it."""
    offset_s: float
    """Suggested for its `stamp_offset_s`, on top of the present one."""
    left_out: bool
    """Whether it is not fused: it differs from a majority that agrees."""


def doubts(leads_s: Mapping[str, float], keep: str = "") -> dict[str, Doubt]:
    """Return whose stamps cannot be right beside the others'.

    No message comes before it was stamped: where stamps lie ahead of the clock at their arrival,
    and `LONGEST_LAG_S` ahead of another's, clocks differ. A majority that agrees is believed, and
    whoever differs from it is left out. Without one all are named, and none is left out.

    Args:
        leads_s: Stamp minus the clock at arrival, of each modality that sends [s].
        keep: Never left out: the modality that asks for latents.
    """
    ordered = sorted((lead, name) for name, lead in leads_s.items())
    if len(ordered) < 2 or ordered[-1][0] <= 0.0:
        return {}
    if ordered[-1][0] - ordered[0][0] <= LONGEST_LAG_S:
        return {}
    agreeing = max(
        ([n for lead, n in ordered if low <= lead <= low + LONGEST_LAG_S] for low, _ in ordered),
        key=len,
    )
    if 2 * len(agreeing) <= len(ordered):
        return {name: _unresolved(name, lead, ordered) for lead, name in ordered}
    middle_s = sorted(leads_s[n] for n in agreeing)[len(agreeing) // 2]
    return {
        name: _odd(lead - middle_s, agreeing, left_out=name != keep)
        for lead, name in ordered
        if name not in agreeing
    }


def _odd(ahead_s: float, others: list[str], *, left_out: bool) -> Doubt:
    side = "ahead of" if ahead_s > 0 else "behind"
    text = (
        f"its clock is {abs(ahead_s):.2f} s {side} {_listed(others)}{', left out' * left_out}: set "
        f"the clock, or add {ahead_s:.2f} to its stamp_offset_s"
    )
    return Doubt(text, ahead_s, left_out)


def _unresolved(name: str, lead_s: float, ordered: list[tuple[float, str]]) -> Doubt:
    far = max(ordered, key=lambda other: abs(other[0] - lead_s))
    apart_s = lead_s - far[0]
    side = "ahead of" if apart_s > 0 else "behind"
    text = (
        f"its stamps lie {abs(apart_s):.2f} s {side} those of {far[1]} that arrive with them, and "
        f"it is not known whose clock is wrong: set the clocks, or add {apart_s:.2f} to its "
        "stamp_offset_s"
    )
    return Doubt(text, apart_s, left_out=False)


def _listed(names: list[str]) -> str:
    *first, last = sorted(names)
    return " and ".join(filter(None, (", ".join(first), last)))
