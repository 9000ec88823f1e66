"""One modality as it arrives: its newest samples, its rhythm, whether it lives, what it refused.

The part of the collector that looks at a single modality. No ROS, no threads, no clock of its own.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError
from smvae_core.fusion.clocks import LONGEST_LAG_S, Doubt
from smvae_core.fusion.rules import TOO_LATE, Further, FusionRule, limits
from smvae_core.fusion.spacing import Spacing
from smvae_core.modality import Modality

#: Good samples that make a lost modality live again, so that the fused set does not flicker.
GOOD_TO_LIVE = 2
#: Reason that counts messages which are not newer than those before.
NOT_INCREASING = "stamp not increasing"
#: Stamps further than this behind the newest, two in a row, are a source that began again.
RESTART_S = 1.0
#: Nearer ones may be messages in disorder: so many in a row are none.
RESTART_MESSAGES = 5
#: Samples stamped this close belong to one moment, whatever their rate.
SAME_MOMENT_S = 0.005
#: A gap as long as this is never taken for a period.
LONGEST_PERIOD_S = 10.0
#: How far stamps lie ahead of the clock is measured so often; it does not change by the message.
LEAD_PERIOD_S = 0.02

_GAPS_KEPT = 20
_LAGS_KEPT = 20
_LEADS_KEPT = 20
_stamp = attrgetter("stamp_ns")


class Sample(NamedTuple):
    """One message's value (of a force window: one reading (C,))."""

    stamp_ns: int
    value: Any
    arrival_s: float


@dataclass
class Channel:
    """Newest samples, rhythm, liveliness and counts of one modality."""

    modality: Modality
    rule: FusionRule
    samples: deque[Sample] = field(init=False)
    is_window: bool = field(init=False)
    """Whether a sample is a window of readings."""
    late_s: float = 0.0
    """A message that comes so long after a later one of it is put where it belongs; 0 = it is
    refused."""
    spacing: Spacing = field(init=False)
    """Which of its samples memory is told of."""
    _unheard: list[Sample] = field(default_factory=list)
    received: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    newest_ns: int = 0
    """Newest stamp taken, also of a sample that was dropped since; 0 = none."""
    last_rejected_s: float | None = None
    last_rejected_ns: int = 0
    first_rejection: str = ""
    last_rejection: str = ""
    lag_s: float = 0.0
    """How far behind the moment messages are stamped when they arrive: nine in ten, at most."""
    lead_s: float | None = None
    """Corrected stamp minus the stamps' clock at arrival, median; None = not measured."""
    doubt: Doubt | None = None
    """What is wrong with its stamps beside those of others."""
    granted_s: float = 0.0
    """How far beyond LONGEST_LAG_S it may lag: clocks differ, and nobody knows whose is wrong."""
    publishers: int | None = None
    """How many publishers there are; None = unknown."""
    period_s: float | None = None
    """Median time between stamps; None until four samples came."""
    arrival_period_s: float | None = None
    """Median time between arrivals on the steady clock: a bag may be played slowly."""
    _lags_s: deque[float] = field(default_factory=lambda: deque(maxlen=_LAGS_KEPT))
    _stamp_gaps_s: deque[float] = field(default_factory=lambda: deque(maxlen=_GAPS_KEPT))
    _arrival_gaps_s: deque[float] = field(default_factory=lambda: deque(maxlen=_GAPS_KEPT))
    _taken_s: float = 0.0
    _after_silence: bool = False
    _leads_s: deque[float] = field(default_factory=lambda: deque(maxlen=_LEADS_KEPT))
    lead_taken_s: float = -math.inf
    """When `lead_s` was measured last."""
    _good_needed: int = 0
    _span_s: float = field(init=False)
    _may_follow: bool = field(init=False)
    _offset_ns: int = field(init=False)
    _behind: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ConfigError if the rule cannot be this modality's."""
        self.is_window = self.modality.family.is_window
        self._span_s = self.modality.family.span_s(self.modality)
        self._may_follow = self.modality.family.may_follow
        self.samples = deque(maxlen=self.modality.family.kept)
        self.spacing = Spacing(self.modality.family.spacing_s(self.modality))
        self.set_rule(self.rule)

    def set_rule(self, rule: FusionRule) -> None:
        """Change the rule; samples and counts stay.

        Raises:
            ConfigError: If it would hold a force window.
        """
        if rule.hold_last_s and self.is_window:
            raise ConfigError(
                f"hold_last_s of {self.modality.name} must be 0, got {rule.hold_last_s:g}: a force "
                "window is never used again once its readings stopped"
            )
        if rule.stamp_offset_s != self.rule.stamp_offset_s:
            self._forget_clock()
        self.rule = rule
        self._offset_ns = round(rule.stamp_offset_s * 1e9)

    @property
    def left_out(self) -> bool:
        """Whether its clock is so wrong that nothing is made of its samples."""
        return self.doubt is not None and self.doubt.left_out

    @property
    def last_arrival_s(self) -> float | None:
        return self.samples[-1].arrival_s if self.samples else None

    def limits(self) -> tuple[float, float]:
        """Return (max_skew_s, max_age_s), from the rule or what was measured.

        A camera that takes 60 ms to deliver is 60 to 93 ms behind a force sensor that takes none,
        at 30 Hz: without its lag it would never be fused beside it.
        """
        return self.max_skew_s(), self.max_age_s()

    def max_skew_s(self) -> float:
        given = self.rule.max_skew_s
        if given is not None:
            return given
        return limits(self.period_s, self._span_s)[0] + self.lag_s

    def max_age_s(self) -> float:
        given = self.rule.max_age_s
        return self._measured_age_s() if given is None else given

    def _measured_age_s(self) -> float:
        periods = [p for p in (self.period_s, self.arrival_period_s) if p is not None]
        return limits(max(periods, default=None), self._span_s)[1]

    def corrected_ns(self, stamp_ns: int) -> int:
        """Return when a sample with this stamp happened."""
        return stamp_ns - self._offset_ns

    # --- what arrives ----------------------------------------------------------------------------

    def restarted(self, stamp_ns: int) -> bool:
        """Judge the stamp of one more message: did its source begin again?

        True for the second in a row that lies over a second behind the newest, or the fifth in a
        row behind it at all, each after the one before. A message out of order is neither; where
        late ones are taken, none that is nearer and new is.
        """
        if stamp_ns > self.newest_ns:
            self._behind.clear()
            return False
        far = self.newest_ns - stamp_ns > RESTART_S * 1e9
        late = self.late_s and not far and not self._has(stamp_ns)
        if late or (self._behind and stamp_ns <= self._behind[-1]):
            self._behind.clear()
        if late:
            return False
        self._behind.append(stamp_ns)
        return len(self._behind) >= (2 if far else RESTART_MESSAGES)

    def add(
        self,
        stamp_ns: int,
        value: Any,
        now_s: float,
        moment_ns: int | None = None,
        clock_ns: int = 0,
    ) -> bool:
        """Store a sample unless it is rejected, see `refusal`. Return which.

        Args:
            stamp_ns: Of its message.
            value: The message, or a force reading (C,).
            now_s: Steady clock.
            moment_ns: What a latent would be made of without it; None = of nothing.
            clock_ns: The stamps' clock at its arrival; 0 = not known.
        """
        if stamp_ns <= self.newest_ns:
            reason, text = self.refusal(stamp_ns)
            if reason:
                self.reject(stamp_ns, now_s, reason, text)
            else:
                self._put_late(Sample(stamp_ns, value, now_s))
            return not reason
        if self.newest_ns:
            self._measure((stamp_ns - self.newest_ns) * 1e-9, now_s - self._taken_s)
        if self.samples:
            self._enliven(now_s - self.samples[-1].arrival_s)
        if moment_ns is not None:
            self._lags_s.append(max(0.0, (moment_ns - self.corrected_ns(stamp_ns)) * 1e-9))
            self._measure_lag()
        if clock_ns > 0 and now_s - self.lead_taken_s >= LEAD_PERIOD_S:
            self.lead_taken_s = now_s
            self._leads_s.append((self.corrected_ns(stamp_ns) - clock_ns) * 1e-9)
            self.lead_s = sorted(self._leads_s)[len(self._leads_s) // 2]
        self.newest_ns, self._taken_s = stamp_ns, now_s
        self._put(len(self.samples), Sample(stamp_ns, value, now_s))
        return True

    def refusal(self, stamp_ns: int) -> tuple[str, str]:
        """Return why a stamp is refused beside those before it, in a word and in full."""
        behind_s = (self.newest_ns - stamp_ns) * 1e-9
        if behind_s < 0.0:
            return "", ""
        if not self.late_s or self._has(stamp_ns):
            return NOT_INCREASING, ""
        if behind_s <= self.late_s:
            return "", ""
        name = self.modality.name
        text = f"{name}: {behind_s:.3f} s behind its newest message, {self.late_s:g} s at most"
        return TOO_LATE, text

    def _has(self, stamp_ns: int) -> bool:
        """Return whether a message with this stamp is kept."""
        index = self._index(stamp_ns)
        return index < len(self.samples) and self.samples[index].stamp_ns == stamp_ns

    def _put_late(self, sample: Sample) -> None:
        """Put a sample where it belongs; rhythm and liveliness are of those that come in order."""
        index = self._index(sample.stamp_ns)
        if index and len(self.samples) == self.samples.maxlen:
            self.samples.popleft()
            index -= 1
        self._put(index, sample)

    def _put(self, index: int, sample: Sample) -> None:
        if index == len(self.samples):
            self.samples.append(sample)
        elif len(self.samples) < (self.samples.maxlen or 0):
            self.samples.insert(index, sample)
        if self.late_s and not self.is_window:
            self._unheard.append(sample)
            if len(self._unheard) > self.modality.family.kept:
                del self._unheard[0]
                self.spacing.left_out += 1
        self.received += 1

    def tell(self, reference_ns: int, fused_ns: int | None, *, busy: bool = False) -> list[Further]:
        """Return what memory is to be told of beside the sample that is fused, each once.

        Samples up to the moment, and of a window those that end with other readings. What is not
        chosen is no longer waited for.

        Args:
            reference_ns: The moment.
            fused_ns: Stamp of the sample that is fused; None = none is.
            busy: Whether images are left out.
        """
        if not self._unheard and not self.is_window and fused_ns in (None, self.spacing.last_ns):
            return []
        limit_ns = reference_ns + self._offset_ns
        if self.is_window:
            waiting = [] if fused_ns is None else self._readings_since(fused_ns)
        else:
            waiting = sorted((s for s in self._unheard if s.stamp_ns <= limit_ns), key=_stamp)
            self._unheard = [s for s in self._unheard if s.stamp_ns > limit_ns]
        most = 0 if busy and self.modality.is_image else None
        chosen = self.spacing.choose([s.stamp_ns for s in waiting], fused_ns, most)
        told = [waiting[index] for index in chosen]
        values = self._windows(told) if self.is_window and told else [s.value for s in told]
        return [
            Further(sample.stamp_ns, self.corrected_ns(sample.stamp_ns), value)
            for sample, value in zip(told, values, strict=True)
        ]

    def forget_unheard(self) -> None:
        """Forget what memory was told of, and what it was not."""
        self._unheard.clear()
        self.spacing.forget()

    def _readings_since(self, fused_ns: int) -> list[Sample]:
        """Return the readings since the newest window that memory knows of, up to one."""
        told_ns = self.spacing.last_ns
        if told_ns is not None and not self.spacing.between(told_ns, fused_ns):
            return []
        first = len(self.samples) if told_ns is None else self._index(told_ns + 1)
        return [self.samples[i] for i in range(first, self._index(fused_ns))]

    def _windows(self, ends: list[Sample]) -> list[tuple[Any, ...]]:
        """Return what the windows are made of that end with these readings, in order."""
        first = self._first_reading(ends[0].stamp_ns)
        kept = [self.samples[i] for i in range(first, self._index(ends[-1].stamp_ns) + 1)]
        stamps_ns = np.array([s.stamp_ns for s in kept], np.int64)
        values = np.asarray([s.value for s in kept])
        found = []
        for end in ends:
            last = int(np.searchsorted(stamps_ns, end.stamp_ns)) + 1
            start = self._first_reading(end.stamp_ns) - first
            found.append((stamps_ns[start:last], values[start:last], self.rule.min_samples))
        return found

    def _first_reading(self, end_ns: int) -> int:
        """Return where the window begins that ends with a stamp: at or before its first row."""
        start_ns = end_ns - round(self._span_s * 1e9)
        return max(0, bisect_right(self.samples, start_ns, key=_stamp) - 1)

    def _index(self, stamp_ns: int) -> int:
        """Return where a message with this stamp is kept, or would be."""
        return bisect_left(self.samples, stamp_ns, key=_stamp)

    def _measure_lag(self) -> None:
        """Measure among stamps alone, so that hosts whose clocks differ are measured alike."""
        if len(self._lags_s) >= 3:
            lag_s = sorted(self._lags_s)[len(self._lags_s) * 9 // 10]
            self.lag_s = min(lag_s, LONGEST_LAG_S + self.granted_s)

    def _measure(self, stamp_gap_s: float, arrival_gap_s: float) -> None:
        """Take a gap for a period, but not a silence; two silences in a row are a slower source."""
        longest = max(stamp_gap_s, arrival_gap_s)
        measured = self.period_s is not None
        silence = longest > (self._measured_age_s() if measured else LONGEST_PERIOD_S)
        if silence and self._after_silence:
            self._stamp_gaps_s.clear()
            self._arrival_gaps_s.clear()
            silence = longest > LONGEST_PERIOD_S
        if not silence:
            self._stamp_gaps_s.append(stamp_gap_s)
            self._arrival_gaps_s.append(arrival_gap_s)
        self.period_s = _median(self._stamp_gaps_s)
        self.arrival_period_s = _median(self._arrival_gaps_s)
        self._after_silence = silence

    def _enliven(self, quiet_s: float) -> None:
        """Count a good sample, the first for `quiet_s`, after a loss.

        Nobody can be lost whose period is not known yet, nor whose last sample may be held.
        """
        known = self.rule.max_age_s is not None or self.period_s is not None
        if known and not self.rule.hold_last_s and quiet_s > self.max_age_s():
            self._good_needed = GOOD_TO_LIVE
        self._good_needed = max(0, self._good_needed - 1)

    def reject(self, stamp_ns: int, now_s: float, reason: str, text: str = "") -> None:
        """Count a message that is no sample, by its reason; `text` says more."""
        self.rejected += 1
        self.last_rejection = text or reason
        self.first_rejection = self.first_rejection or self.last_rejection
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self.last_rejected_s, self.last_rejected_ns = now_s, stamp_ns

    def drop(self, stamp_ns: int, now_s: float, reason: str, text: str = "") -> None:
        """Take back a sample that turned out to be bad when it was decoded."""
        for index, sample in enumerate(self.samples):
            if sample.stamp_ns == stamp_ns:
                del self.samples[index]
                self.received -= 1
                break
        self.reject(stamp_ns, now_s, reason, text)

    def flush(self) -> None:
        """Forget samples and rhythm (time jumped); counts stay, and the next sample is a first."""
        self.samples.clear()
        self.forget_unheard()
        self._forget_clock()
        self._stamp_gaps_s.clear()
        self._arrival_gaps_s.clear()
        self._behind.clear()
        self.period_s = self.arrival_period_s = None
        self.newest_ns = self._good_needed = 0
        self._after_silence = False
        self.last_rejected_s = None

    def _forget_clock(self) -> None:
        self.forget_lag()
        self._leads_s.clear()
        self.lead_s = self.doubt = None
        self.granted_s, self.lead_taken_s = 0.0, -math.inf

    def forget_lag(self) -> None:
        """Measure the lag anew: the moments that it was measured against were wrong."""
        self._lags_s.clear()
        self.lag_s = 0.0

    def reset_counts(self) -> None:
        """Count from zero again (a new activation)."""
        self.received = self.rejected = self.spacing.left_out = 0
        self.first_rejection = self.last_rejection = ""
        self.reasons.clear()

    # --- what is known at a moment ---------------------------------------------------------------

    def live(self, now_s: float) -> bool:
        """Return whether it was heard of within max_age_s, and twice since it was lost."""
        arrival = self.last_arrival_s
        return (
            arrival is not None
            and now_s - arrival <= self.max_age_s()
            and not (self._good_needed and not self.rule.hold_last_s)
        )

    def has_moment(self, reference_ns: int) -> bool:
        """Return whether the newest sample is of the reference's moment, or after it."""
        if not self.samples:
            return False
        age_s = (reference_ns - self.corrected_ns(self.samples[-1].stamp_ns)) * 1e-9
        return age_s <= max(0.5 * (self.period_s or 0.0), SAME_MOMENT_S)

    def due(self, now_s: float, within_s: float) -> bool:
        """Return whether its rhythm lets a message be expected within a time, or lately missed."""
        arrival, period, between = self.last_arrival_s, self.period_s, self.arrival_period_s
        if arrival is None or period is None or between is None:
            return False
        quiet_s = now_s - arrival
        return max(period, between) - within_s <= quiet_s <= self._measured_age_s()

    def pick(self, reference_ns: int) -> int | None:
        """Return the index of the newest sample up to the reference.

        Where a later one may stand for it and none lies within max_skew_s, the oldest newer one.
        """
        limit_ns = reference_ns + self._offset_ns
        after = bisect_right(self.samples, limit_ns, key=_stamp)
        skew_ns = self.max_skew_s() * 1e9
        near = after > 0 and limit_ns - self.samples[after - 1].stamp_ns <= skew_ns
        if self._may_follow and not near and after < len(self.samples):
            nearer = after == 0 or self.samples[after].stamp_ns - limit_ns <= skew_ns
            return after if nearer else after - 1
        return after - 1 if after else None

    def value(self, index: int) -> Any:
        """Return the sample at `index`.

        Raises:
            SampleError: If a window is not covered by its readings.
        """
        family, fewest = self.modality.family, self.rule.min_samples
        return family.assemble(self.modality, *self.readings(index), fewest)

    def readings(self, index: int) -> tuple[NDArray[np.int64], list[Any]]:
        """Return stamps (N,) and values of what the sample at `index` is made of."""
        first = self._first_reading(self.samples[index].stamp_ns) if self.is_window else index
        kept = [self.samples[i] for i in range(first, index + 1)]
        return np.array([s.stamp_ns for s in kept], np.int64), [s.value for s in kept]

    def unfused(self, now_s: float, behind_s: float) -> str:
        """Return why the sample that was picked for a reference is not used.

        Args:
            now_s: Steady clock.
            behind_s: The reference minus when it happened; NaN = none was picked.
        """
        quiet_s = now_s - (self.last_arrival_s or 0.0)
        if self.last_arrival_s is None:
            return "nothing since it was dropped or forgotten"
        if quiet_s > self.max_age_s():
            return f"nothing for {quiet_s:.2f} s, {self.max_age_s():.2f} s allowed (max_age_s)"
        if self._good_needed and not self.rule.hold_last_s:
            return "lost, and one good message since: the next makes it live"
        if math.isnan(behind_s):
            return "every sample is newer than the reference time"
        side = "behind" if behind_s > 0 else "ahead of"
        return (
            f"{abs(behind_s):.3f} s {side} the reference time, {self.max_skew_s():.3f} s allowed "
            "(max_skew_s)"
        )


def _median(gaps_s: deque[float]) -> float | None:
    """Return the median (of an even number the upper one), None of less than three.

    Once per reading, where numpy's would take longer than all the rest.
    """
    return sorted(gaps_s)[len(gaps_s) // 2] if len(gaps_s) >= 3 else None
