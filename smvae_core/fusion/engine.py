"""THE engine: which message is taken, which asks for a latent, of which moment, and when it is due.

No I/O, no threads, no clock of its own. The node's mailbox locks it and waits until it is due, a
bag evaluator calls it with the times at which messages were received: what it decides is the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from smvae_core.errors import ConfigError
from smvae_core.fusion.channel import Channel
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import (
    LAYOUT,
    OF_OTHERS,
    TRIGGERS,
    FusionRule,
    FusionState,
    ModalityStatus,
    Observation,
    Pace,
)
from smvae_core.fusion.source import REFUSALS, Source
from smvae_core.messages import has_stamp, stamp_ns
from smvae_core.modality import Modality


class Stamps(NamedTuple):
    """When a message came."""

    now_s: float
    """Steady clock."""
    clock_ns: int = 0
    """The stamps' clock; 0 = simulated time that has not started, which says nothing."""
    source_ns: int = 0
    """When its publisher sent it, system clock of that host; 0 = the middleware does not say."""
    received_ns: int = 0
    """When the middleware received it, system clock; 0 = it does not say."""
    came_s: float | None = None
    """Steady clock; None = now. Earlier where its embedding was made before it was stored."""


class Verdict(NamedTuple):
    """What became of one message."""

    stamp_ns: int
    value: Any = None
    """What was stored: the message, or of a force reading its array (C,)."""
    reason: str = ""
    """Why it was refused, the word that is counted; '' = it was stored."""
    text: str = ""
    """The same for people, where there is more to say."""
    restarted: bool = False
    """Whether its source began again, so that everything before it was forgotten."""
    wakes: bool = False
    """Whether `due` answers otherwise than before."""


@dataclass(frozen=True)
class Taken:
    """What one latent is to be made of."""

    epoch: int
    observation: Observation
    at_s: float
    """Steady time at which it was taken."""
    arrival_s: float
    """Steady time at which the message arrived that asked for it."""
    trigger: str = ""
    """Modality of that message."""
    source_ns: int = 0
    """Of that message, see `Stamps`."""
    received_ns: int = 0
    """Of that message, see `Stamps`."""


def bad_stamp(stamp_ns: int, clock_ns: int, max_future_s: float) -> str:
    """Return why a stamp cannot be right, or ''.

    Args:
        stamp_ns: Of a message.
        clock_ns: The stamps' clock; 0 = simulated time that has not started, which says nothing.
        max_future_s: How far ahead of that clock a stamp may be.
    """
    if stamp_ns <= 0:
        return "zero stamp"
    if clock_ns > 0 and stamp_ns - clock_ns > max_future_s * 1e9:
        return "future stamp"
    return ""


class Engine:
    """Turns arriving messages into moments, and says when each is due.

    - `any`: every new sample of an enabled modality asks; the moment is the newest stamp of all.
    - `timer`: as `any`, taken on a grid of the highest rate, without collecting.
    - a modality's name: only its samples ask; the moment is its newest stamp.

    Before a moment is taken the engine collects, for a bounded time: with a modality, until all
    live others have reached its moment; with `any`, only for those whose rhythm says that they are
    due within that time. A burst of several sensors then makes one latent, and its second message
    does not wait for the next slot of a limited rate.
    """

    def __init__(
        self,
        modalities: tuple[Modality, ...],
        rules: Mapping[str, FusionRule],
        pace: Pace,
        sources: Mapping[str, Source] | None = None,
        *,
        epoch: int = 1,
        late_s: float = 0.0,
    ) -> None:
        """Start empty.

        Args:
            modalities: What the model knows.
            rules: One per modality; missing ones use the defaults.
            pace: When latents are made.
            sources: How the messages of each modality are read; None = as each kind's default.
            epoch: To begin with: that of the model before this one, so that it only ever rises.
            late_s: See `configure`.

        Raises:
            ConfigError: If the trigger is neither 'any', nor 'timer', nor an enabled modality.
            UnknownModality: If a rule names no modality.
        """
        self.modalities = modalities
        self.collector = Collector(modalities, rules)
        self.epoch = epoch
        self.pending = False
        """Whether something asks for a latent."""
        self.arrival_s = 0.0
        """When the newest message that asked arrived; once collecting, the one it began with."""
        self.missed = 0
        """Samples that asked for a latent and were replaced by the next of their modality before
        one was made. Readings of a window are no such samples: one latent is of many."""
        self._asked: set[str] = set()
        self._sent = ("", 0, 0)
        self._ticks: dict[str, tuple[int, int]] = {}
        self._pending_s = 0.0
        self._last_s = -math.inf
        self._timed = False
        self._deadline_s: float | None = None
        self._reference_ns = 0
        found = sources or {
            m.name: Source(converter=m.converter()) for m in modalities if m.message_types
        }
        self.configure(rules, pace, found, late_s)

    def configure(
        self,
        rules: Mapping[str, FusionRule],
        pace: Pace,
        sources: Mapping[str, Source],
        late_s: float = 0.0,
    ) -> None:
        """Use other rules, pace and sources from now on; samples stay.

        Args:
            rules: One per modality that has another.
            pace: When latents are made.
            sources: How the messages of each modality are read.
            late_s: A message that comes so long after a later one of its sensor is taken, for
                memory; 0 = it is refused.

        Raises:
            ConfigError: If the trigger is neither 'any', nor 'timer', nor an enabled modality.
        """
        for name, rule in rules.items():
            self.collector.set_rule(name, rule)
        self.collector.set_late(late_s)
        enabled = (m.name for m in self.modalities if self.collector.channel(m.name).rule.enabled)
        known = (*TRIGGERS, *enabled)
        if pace.trigger not in known:
            raise ConfigError(f"trigger must be one of {', '.join(known)}, got '{pace.trigger}'")
        self.pace, self._sources = pace, dict(sources)
        self._by_any = pace.trigger in TRIGGERS
        self.collector.trusted = "" if self._by_any else pace.trigger
        self._collects = pace.trigger != "timer" and pace.collect_timeout_s > 0.0

    # --- what arrives ----------------------------------------------------------------------------

    def receive(self, name: str, message: Any, stamps: Stamps) -> Verdict:
        """Check one message and store it, or count why not.

        Force readings become arrays here (six numbers); images are decoded when they are used. A
        message without header counts as acquired when it came.
        """
        source, channel = self._sources[name], self.collector.channel(name)
        stamped, frame_id = has_stamp(message), source.frame_id
        stamp = stamp_ns(message, None if stamped else self._tick_ns(name, stamps.clock_ns))
        reason = bad_stamp(stamp, stamps.clock_ns, self.pace.max_future_s)
        text = f"{name}: {reason}: {self._about(stamp, stamped, stamps.clock_ns)}" if reason else ""
        if not reason and frame_id and stamped and message.header.frame_id != frame_id:
            reason = "frame"
            text = f"{name}: frame: expected {frame_id!r}, got {message.header.frame_id!r}"
        if not reason and (others := source.of_others(channel.modality, message)):
            reason, text = OF_OTHERS, f"{name}: {OF_OTHERS}: the message is of {others}"
        if not reason and source.converter.moved is not None:
            if channel.first is None:
                channel.first = message
            elif moved := source.moved(channel.modality, channel.first, message):
                reason, text = LAYOUT, f"{name}: {LAYOUT}: {moved}"
        value = message
        if not reason and channel.is_window:
            try:
                value = source.read(channel.modality, message)
            except REFUSALS as err:
                reason, text = err.reason, str(err)
        if reason:
            channel.reject(stamp, stamps.now_s, reason, text)
            return Verdict(stamp, reason=reason, text=text)
        return self.put(name, stamp, value, stamps)

    def _about(self, stamp_ns: int, stamped: bool, clock_ns: int) -> str:
        """Return what is wrong with a bad stamp, and what would be right."""
        if stamp_ns > 0:
            return (
                f"{(stamp_ns - clock_ns) * 1e-9:.3f} s ahead of the node's clock, "
                f"{self.pace.max_future_s:g} s allowed (max_future_s); synchronise the clocks, or "
                "use simulated time on both sides"
            )
        if stamped:
            return "its driver must set header.stamp"
        return "it has no header, and nothing came on /clock yet to say when it came"

    def put(self, name: str, stamp_ns: int, value: Any, stamps: Stamps) -> Verdict:
        """Store what was read of a message, unless its stamp is refused.

        One that is late asks for no latent: it counts from the next one on. Where its source began
        again everything before it is forgotten: a looped bag restarts all topics, one after the
        other. So it is where simulated time begins behind what came before it.
        """
        channel, now_s = self.collector.channel(name), stamps.now_s
        restarted = self._time_began(stamps.clock_ns) or channel.restarted(stamp_ns)
        if restarted:
            self.flush()
        moment_ns = self._moment_ns()
        late, (reason, text) = stamp_ns <= channel.newest_ns, channel.refusal(stamp_ns)
        if not self.collector.add(name, stamp_ns, value, now_s, moment_ns, stamps.clock_ns):
            return Verdict(stamp_ns, reason=reason, text=text, restarted=restarted)
        wakes = self._ask(channel, stamps) if not late and self._asks(channel) else False
        if self._deadline_s is not None:
            wakes = not self.awaited(now_s)
        return Verdict(stamp_ns, value, restarted=restarted, wakes=wakes or restarted)

    def _time_began(self, clock_ns: int) -> bool:
        """Return whether simulated time began since the last message, and stamps lie in its future.

        Such as those of the wall's clock, which no moment would ever get past.
        """
        began, self._timed = not self._timed and clock_ns > 0, clock_ns > 0
        newest = (self.collector.channel(m.name).newest_ns for m in self.modalities if began)
        return any(ns and bad_stamp(ns, clock_ns, self.pace.max_future_s) for ns in newest)

    def _asks(self, channel: Channel) -> bool:
        if not self._by_any:
            return channel.modality.name == self.pace.trigger and channel.rule.enabled
        return channel.rule.enabled and not channel.delivery.left_out

    def _ask(self, channel: Channel, stamps: Stamps) -> bool:
        """Note that a sample asks for a latent; return whether none was asked for before."""
        name = channel.modality.name
        if self._deadline_s is None:
            self.arrival_s = stamps.now_s if stamps.came_s is None else stamps.came_s
            self._sent = (name, stamps.source_ns, stamps.received_ns)
            if not channel.is_window:
                self.missed += name in self._asked
                self._asked.add(name)
        if self.pending:
            return False
        self.pending, self._pending_s = True, stamps.now_s
        return True

    def _tick_ns(self, name: str, clock_ns: int) -> int:
        """Return the stamp of a message without header: now, told apart within one tick.

        Zero while simulated time has not started, so that the message is rejected.
        """
        tick, count = self._ticks.get(name, (-1, 0))
        count = count + 1 if tick == clock_ns else 0
        self._ticks[name] = (clock_ns, count)
        return clock_ns + count if clock_ns > 0 else 0

    def drop(self, name: str, stamp_ns: int, now_s: float, reason: str, text: str = "") -> None:
        """Take back a stored message that turned out to be bad when it was decoded."""
        self.collector.drop(name, stamp_ns, now_s, reason, text)

    def reject(self, name: str, now_s: float, reason: str, text: str) -> None:
        """Count a message that could not even be looked at."""
        self.collector.reject(name, 0, now_s, reason, text)

    def flush(self) -> None:
        """Forget all samples and whoever asked, and begin a new epoch (time jumped)."""
        self.collector.flush()
        self.pending, self._deadline_s = False, None
        self._asked.clear()
        self._ticks.clear()
        self.epoch += 1

    def reset_counts(self) -> None:
        """Count from zero again (a new activation)."""
        self.collector.reset_counts()
        self.missed = 0

    # --- when a latent is made -------------------------------------------------------------------

    def due(self, now_s: float) -> float:
        """Return when to take, if nothing else comes: not after now = now; infinity = nobody asks.

        Ask again at that time, and whenever a verdict says that it wakes.
        """
        if not self.pending:
            return math.inf
        if self._deadline_s is None:
            start_s = max(self._pending_s, self._next_s)
            if now_s < start_s or not self._collects:
                return start_s
            self._deadline_s = now_s + self.pace.collect_timeout_s
            self._reference_ns = self._moment_ns() or 0
        return self._deadline_s if self.awaited(now_s) else now_s

    @property
    def collecting(self) -> bool:
        """Whether a latent is due and waits for what else belongs to its moment."""
        return self._deadline_s is not None

    def awaited(self, now_s: float) -> tuple[str, ...]:
        """Return the modalities that are worth waiting for; none unless collecting."""
        within_s = (self._deadline_s or 0.0) - now_s
        if self._deadline_s is None or within_s <= 0.0:
            return ()
        due_s = within_s if self._by_any else None
        return self.collector.awaited(self._reference_ns, now_s, due_s)

    def take(self, now_s: float) -> Taken:
        """Return what belongs to the moment, and wait for the next one.

        Where it is taken later than a latent's time after it was due, whoever makes latents does
        not keep up, and is told of no image that is fused into none.
        """
        asked_s = max(self._pending_s, self._next_s)
        busy = now_s - asked_s > self.pace.collect_timeout_s + 1.0 / self.pace.max_rate_hz
        self.pending, self._deadline_s = False, None
        self._asked.clear()
        self._last_s = max(self._next_s, now_s - 1.0 / self.pace.max_rate_hz)
        observation = self.collector.observe(now_s, self._moment_ns())
        self.collector.tell(observation, busy=busy)
        return Taken(self.epoch, observation, now_s, self.arrival_s, *self._sent)

    def pass_time(self, now_s: float, until_s: float) -> Iterator[Taken]:
        """Yield what falls due from a time on and before another, if nothing comes between."""
        while (due_s := self.due(now_s)) < until_s:
            if due_s <= now_s:
                yield self.take(now_s)
            else:
                now_s = due_s

    def each_counts(self, name: str) -> bool:
        """Return whether each sample of a modality is likely to be fused into a latent.

        So that it may be embedded before anything asks: it is enabled, and latents are made about
        as often as its samples come.
        """
        channel = self.collector.channel(name)
        period_s = 1.0 / self.pace.max_rate_hz
        if not self._by_any:
            asks = self.collector.channel(self.pace.trigger)
            period_s = max(period_s, asks.rhythm.period_s or 0.0)
        own_s = channel.rhythm.period_s
        return channel.rule.enabled and (own_s is None or period_s <= 1.25 * own_s)

    @property
    def _next_s(self) -> float:
        """When the next latent may be made, by the rate that counts now."""
        return self._last_s + 1.0 / self.pace.max_rate_hz

    # --- what is known ---------------------------------------------------------------------------

    def observe(self, now_s: float, reference_ns: int | None = None) -> Observation:
        """Return the observation at a reference time, whoever asks; see `Collector.observe`."""
        return self.collector.observe(now_s, reference_ns)

    def statuses(self, now_s: float, clock_ns: int) -> dict[str, ModalityStatus]:
        """Return what is known of every modality now, for who has no latent to look at.

        States are those of the newest moment, as a latent would have them; ages are by the stamps'
        clock, so that they grow when everything has stopped.

        Args:
            now_s: Steady clock.
            clock_ns: The stamps' clock; 0 = simulated time that has not started, which says
                nothing: ages are then those at the newest stamp of all.
        """
        observation = self.collector.observe(now_s)
        for each in observation.status.values() if clock_ns > 0 else ():
            each.age_s += (clock_ns - observation.reference_ns) * 1e-9  # NaN stays NaN
        return observation.status

    def blind(self, now_s: float) -> bool:
        """Return whether nothing alive can ask for a latent."""
        status = self.collector.observe(now_s, self._moment_ns()).status
        asking = status.values() if self._by_any else (status[self.pace.trigger],)
        return all(s.state != FusionState.FUSED or s.held for s in asking)

    def _moment_ns(self) -> int | None:
        return self.collector.newest_ns(None if self._by_any else self.pace.trigger)
