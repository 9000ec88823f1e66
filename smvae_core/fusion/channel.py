"""One modality as it arrives: its newest samples, whether it lives, what it refused.

The part of the collector that looks at a single modality. No ROS, no threads, no clock of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from smvae_core.errors import ConfigError
from smvae_core.fusion.delivery import Delivery
from smvae_core.fusion.rhythm import Rhythm
from smvae_core.fusion.rules import OF_OTHERS, TOO_LATE, Further, FusionRule
from smvae_core.fusion.samples import Readings, Sample, Samples
from smvae_core.fusion.untold import Untold
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


@dataclass
class Channel:
    """Newest samples, rhythm, liveliness and counts of one modality."""

    modality: Modality
    rule: FusionRule
    samples: Samples = field(init=False)
    is_window: bool = field(init=False)
    """Whether a sample is a window of readings."""
    rhythm: Rhythm = field(init=False)
    delivery: Delivery = field(default_factory=Delivery)
    untold: Untold = field(init=False)
    """What memory is not told of yet; filled where late ones are taken."""
    late_s: float = 0.0
    """A message that comes so long after a later one of it is put where it belongs; 0 = it is
    refused."""
    received: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    newest_ns: int = 0
    """Newest stamp taken, also of a sample that was dropped since; 0 = none."""
    last_rejected_s: float | None = None
    last_rejected_ns: int = 0
    first_rejection: str = ""
    last_rejection: str = ""
    first: Any = None
    """Its first message, where later ones are held against it."""
    publishers: int | None = None
    """How many publishers there are; None = unknown."""
    _dropped_s: float | None = None
    """When a message was refused last that had been taken; None = none since the last flush."""
    _taken_s: float = 0.0
    _good_needed: int = 0
    _may_follow: bool = field(init=False)
    _offset_ns: int = field(init=False)
    _behind: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ConfigError if the rule cannot be this modality's."""
        self.is_window = self.modality.family.is_window
        family, modality = self.modality.family, self.modality
        span_s = family.span_s(modality)
        self._may_follow = family.may_follow
        self.rhythm = Rhythm(span_s)
        self.samples = Samples(family.kept, span_s if self.is_window else None)
        self.untold = Untold(self.samples, family.spacing_s(modality), is_window=self.is_window)
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
            self.delivery.forget()
        self.rule = rule
        self._offset_ns = round(rule.stamp_offset_s * 1e9)

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
        return self.rhythm.max_skew_s + self.delivery.lag_s

    def max_age_s(self) -> float:
        given = self.rule.max_age_s
        return self.rhythm.max_age_s if given is None else given

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
        late = self.late_s and not far and not self.samples.has(stamp_ns)
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
            else:  # rhythm and liveliness are of those that come in order
                self._put(Sample(stamp_ns, value, now_s))
            return not reason
        if self.newest_ns:
            self.rhythm.add((stamp_ns - self.newest_ns) * 1e-9, now_s - self._taken_s)
        if self.samples:
            self._enliven(now_s - self.samples[-1].arrival_s)
        self.delivery.measure(self.corrected_ns(stamp_ns), now_s, moment_ns, clock_ns)
        self.newest_ns, self._taken_s = stamp_ns, now_s
        self._put(Sample(stamp_ns, value, now_s))
        return True

    def refusal(self, stamp_ns: int) -> tuple[str, str]:
        """Return why a stamp is refused beside those before it, in a word and in full."""
        behind_s = (self.newest_ns - stamp_ns) * 1e-9
        if behind_s < 0.0:
            return "", ""
        name = self.modality.name
        if self.samples.has(stamp_ns):
            return NOT_INCREASING, f"{name}: {NOT_INCREASING}: this stamp was there already"
        if not self.late_s:
            text = f"{name}: {NOT_INCREASING}: {behind_s:.3f} s behind its newest message"
            return NOT_INCREASING, text
        if behind_s <= self.late_s:
            return "", ""
        text = f"{name}: {behind_s:.3f} s behind its newest message, {self.late_s:g} s at most"
        return TOO_LATE, text

    def _put(self, sample: Sample) -> None:
        self.samples.put(sample)
        if self.late_s:
            self.untold.add(sample)
        self.received += 1

    def tell(self, reference_ns: int, fused_ns: int | None, *, busy: bool = False) -> list[Further]:
        """Return what memory is to be told of beside the sample that is fused, each once.

        Args:
            reference_ns: The moment.
            fused_ns: Stamp of the sample that is fused; None = none is.
            busy: Whether images are left out.
        """
        most = 0 if busy and self.modality.is_image else None
        told = self.untold.choose(reference_ns + self._offset_ns, fused_ns, most)
        if not told:
            return []
        values = [s.value for s in told]
        if self.is_window:
            values = [(*each, self.rule.min_samples) for each in self.samples.windows(told)]
        return [
            Further(sample.stamp_ns, self.corrected_ns(sample.stamp_ns), value)
            for sample, value in zip(told, values, strict=True)
        ]

    def _enliven(self, quiet_s: float) -> None:
        """Count a good sample, the first for `quiet_s`, after a loss.

        Nobody can be lost whose period is not known yet, nor whose last sample may be held.
        """
        known = self.rule.max_age_s is not None or self.rhythm.period_s is not None
        if known and not self.rule.hold_last_s and quiet_s > self.max_age_s():
            self._good_needed = GOOD_TO_LIVE
        self._good_needed = max(0, self._good_needed - 1)

    def reject(self, stamp_ns: int, now_s: float, reason: str, text: str = "") -> None:
        """Count a message that is no sample, by its reason; `text` says more."""
        self.rejected += 1
        self.last_rejection = text or reason
        self.first_rejection = self.first_rejection or self.last_rejection
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if reason != OF_OTHERS or not self.received:  # what is not its own says nothing of it
            self.last_rejected_s, self.last_rejected_ns = now_s, stamp_ns

    def drop(self, stamp_ns: int, now_s: float, reason: str, text: str = "") -> None:
        """Take back a sample that turned out to be bad when it was decoded."""
        self.received -= self.samples.take_back(stamp_ns)
        self._dropped_s = now_s
        self.reject(stamp_ns, now_s, reason, text)

    def flush(self) -> None:
        """Forget samples and rhythm (time jumped); counts stay, and the next sample is a first."""
        self.samples.clear()
        self.untold.forget()
        self.delivery.forget()
        self.rhythm.forget()
        self._behind.clear()
        self.newest_ns = self._good_needed = 0
        self.last_rejected_s = self._dropped_s = self.first = None

    def reset_counts(self) -> None:
        """Count from zero again (a new activation)."""
        self.received = self.rejected = 0
        self.untold.reset_count()
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

    def doubted(self, now_s: float) -> bool:
        """Return whether its newest message was not read, and the one before could not be.

        Images are decoded when they are used, which one message after a loss is not.
        """
        samples = self.samples
        if self._dropped_s is None or not self._good_needed or not samples:
            return False
        quiet_s = now_s - samples[-1].arrival_s
        before_s = samples[-2].arrival_s if len(samples) > 1 else -math.inf
        return quiet_s <= self.max_age_s() and before_s <= self._dropped_s

    def has_moment(self, reference_ns: int) -> bool:
        """Return whether the newest sample is of the reference's moment, or after it."""
        if not self.samples:
            return False
        age_s = (reference_ns - self.corrected_ns(self.samples[-1].stamp_ns)) * 1e-9
        return age_s <= max(0.5 * (self.rhythm.period_s or 0.0), SAME_MOMENT_S)

    def due(self, now_s: float, within_s: float) -> bool:
        """Return whether its rhythm lets a message be expected within a time, or lately missed."""
        arrival = self.last_arrival_s
        return arrival is not None and self.rhythm.expects(now_s - arrival, within_s)

    def pick(self, reference_ns: int) -> int | None:
        """Return the index of the newest sample up to the reference.

        Where a later one may stand for it and none lies within max_skew_s, the oldest newer one.
        """
        limit_ns = reference_ns + self._offset_ns
        after = self.samples.after(limit_ns)
        if self._may_follow and after < len(self.samples):
            skew_ns = self.max_skew_s() * 1e9
            if after and limit_ns - self.samples[after - 1].stamp_ns <= skew_ns:
                return after - 1
            nearer = after == 0 or self.samples[after].stamp_ns - limit_ns <= skew_ns
            return after if nearer else after - 1
        return after - 1 if after else None

    def value(self, index: int) -> Any:
        """Return the sample at `index`.

        Raises:
            SampleError: If a window is not covered by its readings.
        """
        if not self.is_window:  # nothing to assemble
            return self.samples[index].value
        family, fewest = self.modality.family, self.rule.min_samples
        return family.assemble(self.modality, *self.readings(index), fewest)

    def readings(self, index: int) -> Readings:
        """Return what the sample at `index` is made of."""
        return self.samples.readings(index)

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
