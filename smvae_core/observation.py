"""Which samples belong together: the newest of each modality, their ages, and who is present.

One implementation, live (the node feeds it from callbacks) and offline (a bag evaluator feeds it
from a file). No ROS, no threads, no clock of its own: the caller locks, and passes times in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smvae_core.errors import SampleError
from smvae_core.fusion import (
    FusionRule,
    FusionState,
    ModalityStatus,
    Observation,
    default_limits,
)
from smvae_core.modality import Modality, find
from smvae_core.window import resample_window

_PERIODS_KEPT = 20
_READINGS_KEPT = 256  # 32 ms at up to 8 kHz
_SAMPLES_KEPT = 4


@dataclass
class _Channel:
    """Newest samples and counts of one modality."""

    modality: Modality
    rule: FusionRule
    stamps: deque[int] = field(default_factory=deque)
    values: deque[Any] = field(default_factory=deque)
    periods_s: deque[float] = field(default_factory=lambda: deque(maxlen=_PERIODS_KEPT))
    last_arrival_s: float | None = None
    last_rejected_s: float | None = None
    last_rejected_ns: int = 0
    received: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = _READINGS_KEPT if self.modality.kind == "force_window" else _SAMPLES_KEPT
        self.stamps = deque(maxlen=kept)
        self.values = deque(maxlen=kept)

    @property
    def period_s(self) -> float | None:
        return float(np.median(self.periods_s)) if len(self.periods_s) >= 3 else None

    def limits(self) -> tuple[float, float]:
        """Return (max_skew_s, max_age_s), from the rule or the measured period."""
        default_skew, default_age = default_limits(self.modality, self.period_s)
        skew, age = self.rule.max_skew_s, self.rule.max_age_s
        return (default_skew if skew is None else skew, default_age if age is None else age)

    def add(self, stamp_ns: int, value: Any, now_s: float) -> None:
        if self.stamps and stamp_ns <= self.stamps[-1]:
            self.reject(stamp_ns, now_s, "stamp not increasing")
            return
        if self.stamps:
            gap = (stamp_ns - self.stamps[-1]) * 1e-9
            if gap < 10.0 * (self.period_s or 1.0):  # a silence is not a period
                self.periods_s.append(gap)
        self.stamps.append(stamp_ns)
        self.values.append(value)
        self.last_arrival_s = now_s
        self.received += 1

    def reject(self, stamp_ns: int, now_s: float, reason: str) -> None:
        self.rejected += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self.last_rejected_s, self.last_rejected_ns = now_s, stamp_ns

    def pick(self, reference_ns: int) -> int | None:
        """Return the index of the newest sample up to the reference, else the oldest newer."""
        offset = round(self.rule.stamp_offset_s * 1e9)
        for index in range(len(self.stamps) - 1, -1, -1):
            if self.stamps[index] - offset <= reference_ns:
                return index
        return 0 if self.stamps and self.modality.is_image else None


class Collector:
    """Newest samples of every modality, and the observation they make at a reference time."""

    def __init__(
        self, modalities: tuple[Modality, ...], rules: Mapping[str, FusionRule] | None = None
    ) -> None:
        """Start empty.

        Args:
            modalities: What the model knows, in its order.
            rules: One per modality name; missing ones use the defaults.

        Raises:
            UnknownModality: If a rule names none of them.
        """
        rules = dict(rules or {})
        for name in rules:
            find(modalities, name)
        self.modalities = modalities
        self._channels = {
            m.name: _Channel(modality=m, rule=rules.get(m.name, FusionRule())) for m in modalities
        }

    def set_rule(self, name: str, rule: FusionRule) -> None:
        """Change one modality's rule; its samples stay."""
        find(self.modalities, name)
        self._channels[name].rule = rule

    def add(self, name: str, stamp_ns: int, value: Any, now_s: float) -> None:
        """Store a sample (of a force window: one reading (C,)) that arrived at `now_s`.

        A stamp that does not increase is rejected and counted.
        """
        self._channels[name].add(stamp_ns, value, now_s)

    def reject(self, name: str, stamp_ns: int, now_s: float, reason: str) -> None:
        """Count a sample that failed validation."""
        self._channels[name].reject(stamp_ns, now_s, reason)

    def drop(self, name: str, stamp_ns: int, now_s: float, reason: str) -> None:
        """Take back a stored sample that turned out to be bad when it was decoded."""
        channel = self._channels[name]
        if stamp_ns in channel.stamps:
            index = channel.stamps.index(stamp_ns)
            del channel.stamps[index]
            del channel.values[index]
            channel.received -= 1
        channel.reject(stamp_ns, now_s, reason)

    def newest_ns(self) -> int | None:
        """Return the newest stamp of any enabled modality, None when there is none."""
        stamps = [c.stamps[-1] for c in self._channels.values() if c.rule.enabled and c.stamps]
        return max(stamps, default=None)

    def flush(self) -> None:
        """Forget samples and periods (after a time jump); counts stay."""
        for channel in self._channels.values():
            channel.stamps.clear()
            channel.values.clear()
            channel.periods_s.clear()
            channel.last_arrival_s = channel.last_rejected_s = None

    def observe(self, now_s: float, reference_ns: int | None = None) -> Observation:
        """Return what belongs to the reference time (default: the newest stamp of all).

        Args:
            now_s: Steady clock, for ages.
            reference_ns: Stamp of the trigger.
        """
        if reference_ns is None:
            reference_ns = self.newest_ns() or 0
        samples: dict[str, Any] = {}
        status = {}
        for name, channel in self._channels.items():
            status[name], sample = self._judge(channel, now_s, reference_ns)
            if sample is not None:
                samples[name] = sample
        return Observation(reference_ns=reference_ns, samples=samples, status=status)

    def _judge(
        self, channel: _Channel, now_s: float, reference_ns: int
    ) -> tuple[ModalityStatus, Any]:
        """Return one modality's status and, if fused, its sample."""
        max_skew_s, max_age_s = channel.limits()
        index = channel.pick(reference_ns) if channel.rule.enabled else None
        stamp = channel.stamps[index] if index is not None else 0
        age_s = (reference_ns - stamp) * 1e-9 if stamp else float("nan")
        status = ModalityStatus(
            state=FusionState.ABSENT,
            stamp_ns=stamp,
            age_s=age_s,
            received=channel.received,
            rejected=channel.rejected,
            reject_reasons=dict(channel.reasons),
            period_s=channel.period_s,
            max_skew_s=max_skew_s,
            max_age_s=max_age_s,
        )
        if not channel.rule.enabled:
            status.state = FusionState.DISABLED
            return status, None
        if index is None:
            return self._without_sample(channel, status, now_s), None
        arrival = channel.last_arrival_s
        quiet_s = now_s - arrival if arrival is not None else float("inf")
        skew_s = abs(age_s + channel.rule.stamp_offset_s)
        sample = None
        if quiet_s <= max_age_s and skew_s <= max_skew_s:
            sample = self._sample(channel, index)
        if sample is not None:
            status.state = FusionState.FUSED
        elif self._rejected_since(channel, arrival):
            status.state = FusionState.REJECTED
        else:
            status.state = FusionState.STALE
        return status, sample

    @staticmethod
    def _rejected_since(channel: _Channel, arrival_s: float | None) -> bool:
        rejected = channel.last_rejected_s
        return rejected is not None and (arrival_s is None or rejected >= arrival_s)

    def _without_sample(
        self, channel: _Channel, status: ModalityStatus, now_s: float
    ) -> ModalityStatus:
        """Return the status of a modality that has nothing at or before the reference."""
        _, max_age_s = channel.limits()
        rejected = channel.last_rejected_s
        if rejected is not None and now_s - rejected <= max_age_s:
            status.state = FusionState.REJECTED
            status.stamp_ns = channel.last_rejected_ns
        elif channel.stamps or channel.received:
            status.state = FusionState.STALE
        return status

    @staticmethod
    def _sample(channel: _Channel, index: int) -> Any:
        """Return the sample at `index`; None when a force window is not covered yet."""
        if channel.modality.kind != "force_window":
            return channel.values[index]
        stamps = np.fromiter(channel.stamps, np.int64, len(channel.stamps))[: index + 1]
        try:
            return resample_window(
                stamps,
                np.asarray(channel.values)[: index + 1],
                int(stamps[-1]),
                length=channel.modality.shape[1],
                min_samples=channel.rule.min_samples,
                name=channel.modality.name,
            )
        except SampleError:
            return None
