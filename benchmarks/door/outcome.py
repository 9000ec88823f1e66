"""What came of one attempt at the door."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DoorOutcome:
    """What came of an attempt."""

    opened: bool
    """By robosuite's own measure: the hinge beyond 0.3 rad."""
    time_s: float
    """When the door was open, or how long it lasted."""
    hinge_rad: float
    """How far it was open at the end."""
    peak_n: float
    """Largest force at the wrist, the gripper's weight included, by a reading every 10 ms [N]."""
    placed_mm: float
    """How far across the approach the gripper was from the handle when it began to close, NaN if it
    never did [mm]."""
    missed_mm: float
    """Likewise the belief, NaN without one."""
    refused: float
    """Share of latents that were out of distribution, NaN of who perceives nothing."""
