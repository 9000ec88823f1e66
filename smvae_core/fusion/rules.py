"""When a sample counts as observed: states, rules with their defaults, and what a moment holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality

#: Before a modality's period is measured, this stands in for it [s].
UNMEASURED_PERIOD_S = 0.1
#: Triggers that are not a modality.
TRIGGERS = ("any", "timer")
#: Reason that counts messages which come later than memory takes them.
TOO_LATE = "too late"
#: Reason for which a message is passed over: it is of other parts of the robot, which share the
#: topic. It takes the place of no sample.
OF_OTHERS = "of others"
#: Why a message is refused whose numbers stand for other places than those of the first one.
LAYOUT = "layout"
#: Why a message is refused that the middleware cannot read: its bytes are not of the topic's type.
UNREADABLE = "unreadable"


class FusionState(IntEnum):
    """State of a modality at one reference time (numbers equal smvae_msgs/ModalityStatus)."""

    ABSENT = 0
    FUSED = 1
    STALE = 2
    REJECTED = 3
    DISABLED = 4
    REMEMBERED = 5


@dataclass(frozen=True, kw_only=True)
class FusionRule:
    """When a modality's newest sample counts as observed."""

    enabled: bool = True
    """False: never fused."""
    max_skew_s: float | None = None
    """Fused if |stamp - offset - reference| is at most this; None = 1.5 measured periods, and the
    measured lag on top."""
    max_age_s: float | None = None
    """Stale, and lost, if nothing arrived for this long on the steady clock; None = 3 measured
    periods."""
    stamp_offset_s: float = 0.0
    """Known constant error of the sensor's stamps; positive = they are late. A sample happened at
    stamp - offset, and a reference time is such a corrected stamp."""
    hold_last_s: float = 0.0
    """Keep using the last sample for this long, beside fresh ones of other modalities; 0 = never.
    For commands that come rarely; refused for a force window, which is never fused again."""
    min_samples: int = 3
    """Readings a force window needs at least."""

    def __post_init__(self) -> None:
        for name in ("max_skew_s", "max_age_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be positive, got {value}")
        if not (self.hold_last_s >= 0 and math.isfinite(self.hold_last_s)):
            raise ConfigError(f"hold_last_s must be 0 (never) or positive, got {self.hold_last_s}")
        if not math.isfinite(self.stamp_offset_s):
            raise ConfigError(f"stamp_offset_s must be finite, got {self.stamp_offset_s}")
        if self.min_samples < 2:
            raise ConfigError(f"min_samples must be at least 2, got {self.min_samples}")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """When latents are made; fields have the names and meanings of the node's parameters."""

    trigger: str = "any"
    """any (every message), timer, or a modality's name."""
    max_rate_hz: float = 100.0
    """At most so many latents per second; the rate of 'timer'."""
    collect_timeout_s: float = 0.01
    """How long to wait for what else belongs to a moment."""
    max_future_s: float = 0.5
    """Messages stamped further ahead of the clock are rejected."""

    def __post_init__(self) -> None:
        if not self.max_rate_hz > 0:
            raise ConfigError(f"max_rate_hz must be positive, got {self.max_rate_hz}")
        for name in ("collect_timeout_s", "max_future_s"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class SuspicionRule:
    """How sensors are judged by the others, where the bundle is calibrated for it."""

    rate_hz: float = 0.0
    """Sensors judged per second, all together; 0 = none is."""
    leave_out: bool = False
    """Whether a suspect is left out of the set, as long as others are in it, and of a novel set the
    sensors without which it is not."""


@dataclass(kw_only=True)
class ModalityStatus:
    """What the collector knows of one modality at the reference time."""

    state: FusionState
    stamp_ns: int
    """Stamp of the newest sample considered; 0 if none."""
    age_s: float
    """Reference time minus corrected stamp; negative means newer than the reference."""
    received: int
    rejected: int
    reject_reasons: dict[str, int]
    period_s: float | None
    """Measured between stamps; None until four samples came."""
    max_skew_s: float
    """The limit in force, given or measured."""
    max_age_s: float
    lag_s: float
    """Measured: how far behind the moment its messages are stamped when they arrive."""
    held: bool = False
    """FUSED by `hold_last_s` alone: outside max_skew_s or max_age_s."""
    live: bool = False
    """Heard of within max_age_s, and twice since it was lost."""
    reason: str = ""
    """Why it is not FUSED, or what is wrong with its clock though it is; '' = neither."""
    first_rejection: str = ""
    """What the first message that was refused was refused for, in full; '' = none was."""
    elements: int = 0
    """Its samples in the set that a latent was made of, where memory counted them."""
    folded: int = 0
    """Older ones, which count through memory's running belief alone."""
    oldest_ns: int = 0
    """Stamp of the oldest of `elements`; 0 if there is none."""
    left_out: int = 0
    """Samples since activation that were fused into no moment and are too many to count."""
    further_ns: tuple[int, ...] = ()
    """Stamps of samples that were fused into no moment and count from this one on."""
    suspect: bool = False
    """Its samples contradict the others (`smvae_core.novelty.suspects`), or it is `novel`."""
    novel: bool = False
    """Left out of this moment, whose set is novel with it (`novelty/odd_ones_out.py`); what it said
    before stands."""
    suspicion: float = math.nan
    """What the others held against it over time, 1 = suspect; NaN = not computed."""
    suggested_offset_s: float = 0.0
    """What its `stamp_offset_s` seems to lack, see `clocks`; 0 = nothing."""


def none_used(status: ModalityStatus, used: int) -> str:
    """Return what to warn of where every message of a modality was refused so far; '' = not so.

    Args:
        status: Of the modality.
        used: How many of its samples entered a latent.
    """
    if used or not status.rejected:
        return ""
    messages = f"{status.rejected} message{'s' * (status.rejected != 1)}"
    return f"{messages} rejected, none used; the first: {status.first_rejection}"


class Further(NamedTuple):
    """A sample that belongs to no moment, for memory."""

    stamp_ns: int
    """Of its message."""
    at_ns: int
    """When it happened: its corrected stamp."""
    value: Any
    """The message; of a window what `Kind.assemble` makes it of."""


@dataclass(kw_only=True)
class Observation:
    """The samples that belong to one reference time."""

    reference_ns: int
    samples: dict[str, Any]
    """Fused modalities only; a force window already has its (32, 6) shape."""
    status: dict[str, ModalityStatus]
    further: dict[str, list[Further]] = field(default_factory=dict)
    """What memory has not heard of yet beside them."""

    @property
    def subset(self) -> tuple[str, ...]:
        return tuple(self.samples)


def default_limits(modality: Modality, period_s: float | None) -> tuple[float, float]:
    """Return the (max_skew_s, max_age_s) of a modality whose messages come every `period_s`.

    1.5 and 3 periods. Of a force window the period is at least its length, since the window is the
    sample, not one reading of it.
    """
    return limits(period_s, modality.family.span_s(modality))


def limits(period_s: float | None, span_s: float) -> tuple[float, float]:
    """Return the same of a modality whose samples cover a time."""
    period = max(period_s or UNMEASURED_PERIOD_S, span_s)
    return 1.5 * period, 3.0 * period
