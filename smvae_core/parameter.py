"""One parameter of the node: what it is, its default, its range, when it may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

When = Literal["unconfigured", "inactive", "any"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of the node, or of each of its sensors."""

    name: str
    default: bool | int | float | str
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    """Whether it may change after configure."""
    reloads: bool = False
    """Whether it may also change while inactive: the bundle is then loaded anew."""

    @property
    def when(self) -> When:
        """State in which it may change at the latest: unconfigured, inactive, or any."""
        if self.live:
            return "any"
        return "inactive" if self.reloads else "unconfigured"


#: Of every kind.
FRAME_ID = Parameter(
    name="frame_id",
    default="",
    live=True,
    description="Expected frame of its messages, others are rejected; empty = any.",
)
#: Of every kind whose newest message is the sample.
HOLD_LAST = Parameter(
    name="hold_last_s",
    default=0.0,
    low=0.0,
    high=60.0,
    live=True,
    description="Use the last sample for this long beside fresh ones of others, flagged as "
    "held; 0 = never. For commands that come rarely.",
)
