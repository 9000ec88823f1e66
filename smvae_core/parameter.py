"""One parameter of the node: what it is, its default, its range, when it may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smvae_core.reads import Reads

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
    declared: bool = False
    """Whether the default is what the robot of a bundle is declared with, not the node's own."""
    reloads: bool = False
    """Whether it may also change while inactive: the bundle is then loaded anew."""

    reads: Reads | None = None
    """Of a sensor's topic: what the sensor reads of each message."""

    @property
    def when(self) -> When:
        """State in which it may change at the latest: unconfigured, inactive, or any."""
        if self.live:
            return "any"
        return "inactive" if self.reloads else "unconfigured"
