"""What came of one attempt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an attempt."""

    seated: bool
    time_s: float
    """When the peg was seated, or how long it lasted."""
    peak_n: float
    """Largest contact force on tool and peg, by physics every millisecond [N]."""
    hand_overs: int
    failed_s: float
    """When a sensor began to fail, NaN if none did before the touch."""
    flagged_s: float
    """When the latents first said after that, and before the touch, that something is wrong: out of
    distribution, or against the belief; NaN if never. Without a failure: at any time before."""
    missed_mm: float
    """How far the belief was off sideways at the touch, NaN without a touch or a belief [mm]."""
    missed_rad: float
    """Likewise of its yaw."""
    breaches: int
    """Commands beyond a limit; 0, or the controller is wrong."""
