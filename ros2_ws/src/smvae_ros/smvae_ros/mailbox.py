"""Callbacks leave messages here, the inference thread takes them: a lock around the trigger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import FusionRule, ModalityStatus, Observation
from smvae_core.fusion.trigger import Trigger
from smvae_core.modality import Modality


@dataclass(frozen=True)
class Taken:
    """What the inference thread works on."""

    epoch: int
    observation: Observation
    arrival_s: float
    """Steady time at which the message arrived that asked for it."""
    trigger: str = ""
    """Modality of that message."""
    source_ns: int = 0
    """When its publisher sent it, system clock of that host; 0 = the middleware does not say."""
    received_ns: int = 0
    """When the middleware received it, system clock; 0 = it does not say."""


class Mailbox:
    """Newest messages of every modality, and whether they ask for a latent.

    What belongs together, and who waits for whom, is decided in `smvae_core.fusion.trigger` and
    `smvae_core.fusion.collector`; here are the lock, the clock and the epoch.
    """

    def __init__(
        self,
        modalities: tuple[Modality, ...],
        rules: Mapping[str, FusionRule],
        trigger: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        epoch: int = 0,
    ) -> None:
        """Start empty.

        Args:
            modalities: What the model knows.
            rules: One per modality.
            trigger: any, timer, or a modality's name.
            clock: Steady time [s].
            epoch: To begin with: that of the model before this one, so that it only ever rises.
        """
        self.modalities = modalities
        self._clock = clock
        self._changed = threading.Condition()
        self._collector = Collector(modalities, rules)
        self._trigger = Trigger(self._collector, trigger)
        self._epoch = epoch
        self._sent = ("", 0, 0)
        self._windows = {m.name for m in modalities if m.kind == "force_window"}
        self._asked: set[str] = set()
        self.missed = 0
        """Samples that asked for a latent and were replaced by the next of their modality before
        one was made. Readings of a window are no such samples: one latent is of many."""
        self._closed = False

    @property
    def epoch(self) -> int:
        return self._epoch

    def set_rules(self, rules: Mapping[str, FusionRule], trigger: str) -> None:
        """Apply changed parameters."""
        with self._changed:
            self._trigger.name = trigger
            for name, rule in rules.items():
                self._collector.set_rule(name, rule)
            self._changed.notify_all()

    def set_publishers(self, name: str, count: int) -> None:
        """Note how many publishers a modality's topic has; without any it is ABSENT, not STALE."""
        with self._changed:
            self._collector.set_publishers(name, count)

    def restarted(self, name: str, stamp_ns: int) -> bool:
        """Judge the stamp of one more message, before `put`: did its source begin again?

        Call it once per message; the answer counts messages in a row (`Channel.restarted`).
        """
        with self._changed:
            return self._collector.restarted(name, stamp_ns)

    def put(
        self, name: str, stamp_ns: int, value: Any, *, source_ns: int = 0, received_ns: int = 0
    ) -> None:
        """Store one message (a force reading: its array); wake the thread if it waits for it.

        Args:
            name: Modality.
            stamp_ns: Of its header.
            value: The message, or a force reading (C,).
            source_ns: When it was sent, by the middleware; see `Taken`.
            received_ns: When it was received, by the middleware.
        """
        with self._changed:
            now_s = self._clock()
            taken = self._trigger.add(name, stamp_ns, value, now_s)
            if taken and self._trigger.pending and self._trigger.arrival_s == now_s:
                self._sent = (name, source_ns, received_ns)
                if name not in self._windows:
                    self.missed += name in self._asked
                    self._asked.add(name)
            if self._trigger.pending:
                self._changed.notify_all()

    def reject(self, name: str, stamp_ns: int, reason: str) -> None:
        """Count a message that its callback refused."""
        with self._changed:
            self._collector.reject(name, stamp_ns, self._clock(), reason)

    def drop(self, name: str, stamp_ns: int, reason: str) -> None:
        """Take back a stored message that turned out to be bad."""
        with self._changed:
            self._collector.drop(name, stamp_ns, self._clock(), reason)

    def flush(self) -> int:
        """Forget all samples and begin a new epoch; return its number."""
        with self._changed:
            self._trigger.flush()
            self._asked.clear()
            self._epoch += 1
            self._changed.notify_all()
            return self._epoch

    def open(self) -> None:
        """Accept waiting again after `close`: a new activation, which counts from zero."""
        with self._changed:
            self._closed = False
            self._collector.reset_counts()
            self.missed = 0

    def close(self) -> None:
        """Wake a waiting thread for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait for a trigger; return whether there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._trigger.pending or self._closed, timeout_s)
            return self._trigger.pending and not self._closed

    def collect(self, timeout_s: float) -> None:
        """Wait for what else belongs to the pending moment, at most `timeout_s`.

        See `smvae_core.fusion.trigger.Trigger` for whom; with trigger 'timer' it never waits.
        """
        if timeout_s <= 0:
            return
        with self._changed:
            self._trigger.begin()
            deadline_s = self._clock() + timeout_s
            while not self._closed:
                now_s = self._clock()
                if not self._trigger.awaited(now_s, deadline_s - now_s):
                    return
                self._changed.wait(deadline_s - now_s)

    def take(self) -> Taken:
        """Return what belongs to the trigger's time and clear the trigger."""
        with self._changed:
            arrival_s = self._trigger.arrival_s
            self._asked.clear()
            return Taken(self._epoch, self._trigger.take(self._clock()), arrival_s, *self._sent)

    def observe(self, reference_ns: int | None = None) -> Observation:
        """Return the observation at a reference time, without touching the trigger."""
        with self._changed:
            return self._collector.observe(self._clock(), reference_ns)

    def statuses(self, clock_ns: int) -> dict[str, ModalityStatus]:
        """Return what is known of every modality now, for who has no latent to look at.

        States are those of the newest moment, as a latent would have them; ages are by the node's
        clock, so that they grow when everything has stopped.

        Args:
            clock_ns: The node's clock; 0 = simulated time that has not started, which says nothing:
                ages are then those at the newest stamp of all.
        """
        observation = self.observe()
        for each in observation.status.values() if clock_ns > 0 else ():
            each.age_s += (clock_ns - observation.reference_ns) * 1e-9  # NaN stays NaN
        return observation.status

    def blind(self) -> bool:
        """Return whether nothing alive can ask for a latent."""
        with self._changed:
            return self._trigger.blind(self._clock())
