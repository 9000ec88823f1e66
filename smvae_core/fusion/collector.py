"""Which samples belong together: the newest of each modality, their ages, and who is present.

One implementation, live (the node feeds it from callbacks) and offline (a bag evaluator feeds it
from a file). No ROS, no threads, no clock of its own: the caller locks, and passes times in.

The rules, per modality (`FusionRule`) at a reference time, which is a stamp corrected by its
`stamp_offset_s`:

- DISABLED: switched off.
- FUSED: live, and its newest sample at or before the reference lies within `max_skew_s` of it.
  Live: something good arrived within `max_age_s` on the steady clock. Once lost, two good samples
  make it live again. The first sample ever, or after a time jump, counts at once: who publishes one
  message by hand expects a latent, and there is no loss yet that could flicker. A modality whose
  rate is not known yet, and that has no `max_age_s` of its own, cannot be lost.
- FUSED and held: outside those limits, but within `hold_last_s`, where that was asked for. A held
  sample accompanies fresh ones; alone it is STALE, so that no old sample ever makes a latent.
- ABSENT: nothing received, or nobody publishes any more.
- REJECTED: the newest message was refused.
- STALE: everything else, also whose clock differs from a majority's (`clocks`).

A state other than FUSED carries its reason in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smvae_core.errors import SampleError
from smvae_core.fusion.channel import Channel
from smvae_core.fusion.clocks import doubts
from smvae_core.fusion.rules import FusionRule, FusionState, ModalityStatus, Observation
from smvae_core.modality import Modality, find


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
            ConfigError: If a rule would hold a force window.
        """
        rules = dict(rules or {})
        for name in rules:
            find(modalities, name)
        self.modalities = modalities
        self._channels = {
            m.name: Channel(modality=m, rule=rules.get(m.name, FusionRule())) for m in modalities
        }
        self._deliveries = [c.delivery for c in self._channels.values()]
        self._newest_ns: int | None = None
        self._remembers = False
        self.trusted = ""
        """A modality that is never left out for its clock: the one that asks for latents."""

    def set_rule(self, name: str, rule: FusionRule) -> None:
        """Change one modality's rule; its samples stay.

        Raises:
            ConfigError: If it would hold a force window.
        """
        find(self.modalities, name)
        self._channels[name].set_rule(rule)
        self._newest_ns = None

    def set_late(self, late_s: float) -> None:
        """Say how late a message may come after a later one of its sensor; see `Channel.late_s`."""
        self._remembers = late_s > 0.0
        for channel in self._channels.values():
            channel.late_s = late_s
            if not late_s:
                channel.untold.forget()

    def channel(self, name: str) -> Channel:
        """Return what is known of one modality."""
        return self._channels[name]

    def set_publishers(self, name: str, count: int | None) -> None:
        """Say how many publishers a modality has; None, or never said = unknown."""
        self._channels[name].publishers = count

    def add(
        self,
        name: str,
        stamp_ns: int,
        value: Any,
        now_s: float,
        moment_ns: int | None = None,
        clock_ns: int = 0,
    ) -> bool:
        """Store a sample (of a force window: one reading (C,)) that arrived at `now_s`.

        A stamp that does not increase, or is too late, is rejected and counted; returns whether it
        was taken. Its lag is measured against `moment_ns` and its clock against `clock_ns`, where
        they are given; see `Channel.add`.
        """
        channel = self._channels[name]
        measured = channel.delivery.lead_taken_s
        taken = channel.add(stamp_ns, value, now_s, moment_ns, clock_ns)
        if channel.delivery.lead_taken_s != measured:
            self._compare_clocks(now_s)
        if self._newest_ns is not None and _counts(channel):
            newest_ns = channel.corrected_ns(channel.samples[-1].stamp_ns)
            self._newest_ns = max(self._newest_ns, newest_ns)
        return taken

    def _compare_clocks(self, now_s: float) -> None:
        """Judge whose stamps can be right, and what may lag how far."""
        for each in self._deliveries:  # after every few messages: no generator
            if each.doubt is not None or (each.lead_s is not None and each.lead_s > 0.0):
                break
        else:
            return
        channels = self._channels.values()
        leads_s = {
            c.modality.name: c.delivery.lead_s
            for c in channels
            if c.delivery.lead_s is not None and c.rule.enabled and c.live(now_s)
        }
        found = doubts(leads_s, self.trusted)
        granted_s = max((abs(d.offset_s) for d in found.values() if not d.left_out), default=0.0)
        before = [c.delivery.left_out for c in channels]
        for name, channel in self._channels.items():
            channel.delivery.doubt, channel.delivery.granted_s = found.get(name), granted_s
        if before != [c.delivery.left_out for c in channels]:
            self._newest_ns = None
            for channel in channels:
                channel.delivery.forget_lag()

    def reject(self, name: str, stamp_ns: int, now_s: float, reason: str, text: str = "") -> None:
        """Count a sample that failed validation."""
        self._channels[name].reject(stamp_ns, now_s, reason, text)

    def drop(self, name: str, stamp_ns: int, now_s: float, reason: str, text: str = "") -> None:
        """Take back a stored sample that turned out to be bad when it was decoded."""
        self._channels[name].drop(stamp_ns, now_s, reason, text)
        self._newest_ns = None

    def newest_ns(self, name: str | None = None) -> int | None:
        """Return the newest corrected stamp of one modality or of all that may be fused.

        None if there is none.
        """
        if name is not None:
            return _newest_ns((self._channels[name],))
        if self._newest_ns is None:  # else kept from message to message, whatever their sensor
            self._newest_ns = _newest_ns(self._channels.values())
        return self._newest_ns

    def flush(self) -> None:
        """Forget samples and rhythms (after a time jump); counts stay."""
        for channel in self._channels.values():
            channel.flush()
        self._newest_ns = None

    def reset_counts(self) -> None:
        """Count from zero again (a new activation)."""
        for channel in self._channels.values():
            channel.reset_counts()

    def awaited(
        self, reference_ns: int, now_s: float, within_s: float | None = None
    ) -> tuple[str, ...]:
        """Return the modalities whose sample of the reference's moment is worth waiting for.

        Args:
            reference_ns: The moment.
            now_s: Steady clock.
            within_s: Only those whose rhythm lets a message be expected within this time;
                None = every live one that has not reached the moment.
        """
        return tuple(
            name
            for name, channel in self._channels.items()
            if channel.rule.enabled
            and not channel.delivery.left_out
            and channel.live(now_s)
            and not channel.has_moment(reference_ns)
            and (within_s is None or channel.due(now_s, within_s))
        )

    def tell(self, observation: Observation, *, busy: bool = False) -> None:
        """Put into an observation what memory is to be told of beside what is fused, each once.

        Args:
            observation: Of a moment.
            busy: Whether there is no time for images, which are dear: they are left out.
        """
        for name, channel in self._channels.items() if self._remembers else ():
            fused = name in observation.samples
            stamp_ns = observation.status[name].stamp_ns if fused else None
            told = channel.tell(observation.reference_ns, stamp_ns, busy=busy)
            if told and channel.rule.enabled and not channel.delivery.left_out:
                observation.further[name] = told

    def observe(
        self, now_s: float, reference_ns: int | None = None, *, everything: bool = False
    ) -> Observation:
        """Return what belongs to the reference time (default: the newest stamp of all).

        Args:
            now_s: Steady clock, for ages.
            reference_ns: Corrected stamp of the trigger.
            everything: As if no modality were disabled.
        """
        if reference_ns is None:
            reference_ns = self.newest_ns() or 0
        samples: dict[str, Any] = {}
        status = {}
        for name, channel in self._channels.items():
            status[name], sample = _judge(
                channel, now_s, reference_ns, channel.rule.enabled or everything
            )
            if sample is not None:
                samples[name] = sample
        if all(status[name].held for name in samples):
            for name in samples:
                status[name].state, status[name].held = FusionState.STALE, False
                status[name].reason = "held, and nothing fresh beside it"
            samples = {}
        return Observation(reference_ns=reference_ns, samples=samples, status=status)


def _counts(channel: Channel) -> bool:
    """Return whether a modality's newest sample may be fused."""
    return bool(channel.samples) and channel.rule.enabled and not channel.delivery.left_out


def _newest_ns(channels: Iterable[Channel]) -> int | None:
    stamps = [c.corrected_ns(c.samples[-1].stamp_ns) for c in channels if _counts(c)]
    return max(stamps, default=None)


def _judge(
    channel: Channel, now_s: float, reference_ns: int, enabled: bool
) -> tuple[ModalityStatus, Any]:
    """Return one modality's status and, if fused, its sample."""
    rule, doubt = channel.rule, channel.delivery.doubt
    index = channel.pick(reference_ns) if enabled else None
    stamp = channel.samples[index].stamp_ns if index is not None else 0
    behind_s = (reference_ns - channel.corrected_ns(stamp)) * 1e-9 if stamp else float("nan")
    max_skew_s, max_age_s = channel.limits()
    status = ModalityStatus(
        state=FusionState.DISABLED,
        stamp_ns=stamp,
        age_s=behind_s,
        received=channel.received,
        rejected=channel.rejected,
        reject_reasons=dict(channel.reasons),
        period_s=channel.rhythm.period_s,
        max_skew_s=max_skew_s,
        max_age_s=max_age_s,
        lag_s=channel.delivery.lag_s,
        live=enabled and channel.live(now_s),
        first_rejection=channel.first_rejection,
        left_out=channel.untold.left_out,
    )
    if not enabled:
        status.reason = "switched off (enabled)"
        return status, None
    if doubt is not None:
        status.reason, status.suggested_offset_s = doubt.text, doubt.offset_s
    sample = None
    if index is not None and not channel.delivery.left_out:
        fresh = status.live and abs(behind_s) <= max_skew_s
        quiet_s = now_s - (channel.last_arrival_s or 0.0)
        held = (
            rule.hold_last_s > 0.0
            and not fresh
            and behind_s >= 0.0
            and max(behind_s, quiet_s) <= rule.hold_last_s
        )
        if fresh or held:
            try:
                sample = channel.value(index)
                status.held = held
            except SampleError as err:
                status.reason = err.reason
    if sample is not None:
        status.state = FusionState.FUSED
        return status, sample
    status.state, reason = _unfused(channel, now_s, behind_s)
    status.reason = status.reason or reason
    if status.state is FusionState.REJECTED and not stamp:
        status.stamp_ns = channel.last_rejected_ns
    return status, sample


def _unfused(channel: Channel, now_s: float, behind_s: float) -> tuple[FusionState, str]:
    """Return why an enabled modality has no sample for the reference."""
    if channel.publishers == 0:
        return FusionState.ABSENT, "no publisher matches: none is there, or its type or QoS differs"
    rejected, arrival = channel.last_rejected_s, channel.last_arrival_s
    if rejected is not None and (arrival is None or rejected >= arrival):
        return FusionState.REJECTED, f"the newest message was refused: {channel.last_rejection}"
    if channel.doubted(now_s):
        why = f"the last message that was decoded was refused: {channel.last_rejection}"
        return FusionState.REJECTED, why
    if not channel.received:
        return FusionState.ABSENT, "no message yet"
    return FusionState.STALE, channel.unfused(now_s, behind_s)
