"""Callbacks leave messages here, the inference thread takes them: a lock around a collector."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smvae_core.fusion import FusionRule, FusionState, Observation
from smvae_core.modality import Modality
from smvae_core.observation import Collector
from smvae_ros.parameters import TRIGGERS

#: A stamp that far behind its predecessor is a restarted source (a looped bag), not a late message.
RESTART_S = 1.0
#: Samples stamped this close belong to one moment, whatever their rate.
SAME_MOMENT_S = 0.005


@dataclass(frozen=True)
class Taken:
    """What the inference thread works on."""

    epoch: int
    observation: Observation
    arrival_s: float
    """Steady time at which the newest triggering message arrived."""


class Mailbox:
    """Newest messages of every modality, and whether they ask for a latent."""

    def __init__(
        self, modalities: tuple[Modality, ...], rules: Mapping[str, FusionRule], trigger: str
    ) -> None:
        self.modalities = modalities
        self._changed = threading.Condition()
        self._collector = Collector(modalities, rules)
        self._rules = dict(rules)
        self._trigger = trigger
        self._pending = False
        self._arrival_s = 0.0
        self._newest: dict[str, int] = {}
        self._arrivals_s: dict[str, float] = {}
        self._epoch = 0
        self._closed = False

    @property
    def epoch(self) -> int:
        return self._epoch

    def set_rules(self, rules: Mapping[str, FusionRule], trigger: str) -> None:
        """Apply changed parameters."""
        with self._changed:
            self._rules = dict(rules)
            self._trigger = trigger
            for name, rule in rules.items():
                self._collector.set_rule(name, rule)

    def restarted(self, name: str, stamp_ns: int) -> bool:
        """Return whether a stamp lies so far back that its source must have restarted."""
        newest = self._newest.get(name)
        return newest is not None and stamp_ns < newest - RESTART_S * 1e9

    def put(self, name: str, stamp_ns: int, value: Any) -> None:
        """Store one message (a force reading: its array); wake the thread if it triggers."""
        now = time.monotonic()
        with self._changed:
            self._collector.add(name, stamp_ns, value, now)
            if stamp_ns <= self._newest.get(name, 0):
                return  # the collector counted it as rejected
            self._newest[name] = stamp_ns
            self._arrivals_s[name] = now
            if self._rules[name].enabled and self._trigger in (*TRIGGERS, name):
                self._arrival_s = now
                if not self._pending:
                    self._pending = True
                    self._changed.notify_all()
            elif self._pending:
                self._changed.notify_all()  # a collecting thread may wait for this one

    def reject(self, name: str, stamp_ns: int, reason: str) -> None:
        """Count a message that its callback refused."""
        with self._changed:
            self._collector.reject(name, stamp_ns, time.monotonic(), reason)

    def drop(self, name: str, stamp_ns: int, reason: str) -> None:
        """Take back a stored message that turned out to be bad."""
        with self._changed:
            self._collector.drop(name, stamp_ns, time.monotonic(), reason)

    def flush(self) -> int:
        """Forget all samples and begin a new epoch; return its number."""
        with self._changed:
            self._collector.flush()
            self._newest.clear()
            self._arrivals_s.clear()
            self._pending = False
            self._epoch += 1
            return self._epoch

    def open(self) -> None:
        """Accept waiting again after `close`."""
        with self._changed:
            self._closed = False

    def close(self) -> None:
        """Wake a waiting thread for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait for a trigger; return whether there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closed, timeout_s)
            return self._pending and not self._closed

    def collect(self, timeout_s: float) -> None:
        """With a modality as trigger, wait for live others of its moment, at most `timeout_s`."""
        if self._trigger in TRIGGERS or timeout_s <= 0:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._complete(), timeout_s)

    def _complete(self) -> bool:
        """Return whether every live modality has a sample of the trigger's moment."""
        now = time.monotonic()
        status = self._collector.observe(now, self._newest.get(self._trigger, 0)).status
        return all(
            s.age_s <= max(0.5 * (s.period_s or 0.0), SAME_MOMENT_S)
            for name, s in status.items()
            if self._rules[name].enabled
            and now - self._arrivals_s.get(name, -math.inf) <= s.max_age_s
        )

    def take(self) -> Taken:
        """Return what belongs to the trigger's time and clear the trigger."""
        with self._changed:
            self._pending = False
            reference = None if self._trigger in TRIGGERS else self._newest.get(self._trigger)
            observation = self._collector.observe(time.monotonic(), reference)
            return Taken(self._epoch, observation, self._arrival_s)

    def observe(self, reference_ns: int | None = None) -> Observation:
        """Return the observation at a reference time, without touching the trigger."""
        with self._changed:
            return self._collector.observe(time.monotonic(), reference_ns)

    def blind(self) -> bool:
        """Return whether nothing alive can ask for a latent."""
        status = self.observe().status
        if self._trigger in TRIGGERS:
            return all(s.state != FusionState.FUSED for s in status.values())
        return status[self._trigger].state != FusionState.FUSED
