"""Messages in the order of their arrival -> what is due and when, as the node's thread paces it.

No ROS, no threads, no clock: the caller passes steady times in. Which message asks for a latent and
who is waited for is the node's own `Trigger`; here is what its inference thread does with the
clock: the limited rate and the end of a wait. A bag is fed through this with its receive times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smvae_core.errors import ConfigError
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import TRIGGERS, FusionRule, Observation, Pace
from smvae_core.fusion.trigger import Trigger, bad_stamp
from smvae_core.modality import Modality


@dataclass(frozen=True, kw_only=True)
class Due:
    """One latent that is to be made."""

    epoch: int
    observation: Observation
    at_s: float
    """Steady time at which it was taken."""
    arrival_s: float
    """Steady time at which the message arrived that asked for it."""


class Feed:
    """A trigger and the times at which its moments are taken."""

    def __init__(
        self, modalities: tuple[Modality, ...], rules: Mapping[str, FusionRule], pace: Pace
    ) -> None:
        """Start empty, in epoch 1 as a node that was activated once.

        Args:
            modalities: What the model knows.
            rules: One per modality; missing ones use the defaults.
            pace: When latents are made.

        Raises:
            ConfigError: If the trigger is neither 'any', nor 'timer', nor an enabled modality.
            UnknownModality: If a rule names no modality.
        """
        self.collector = Collector(modalities, rules)
        self.pace, self.epoch = pace, 1
        enabled = (m.name for m in modalities if self.collector.rule(m.name).enabled)
        known = (*TRIGGERS, *enabled)
        if pace.trigger not in known:
            raise ConfigError(f"trigger must be one of {', '.join(known)}, got '{pace.trigger}'")
        self._trigger = Trigger(self.collector, pace.trigger)
        self._pending_s = math.inf
        self._next_s = -math.inf
        self._deadline_s: float | None = None

    def bad_stamp(self, stamp_ns: int, clock_ns: int) -> str:
        """Return why a stamp cannot be right at this time of the stamps' clock, or ''."""
        return bad_stamp(stamp_ns, clock_ns, self.pace.max_future_s)

    def put(self, name: str, stamp_ns: int, value: Any, now_s: float) -> bool:
        """Take one sample that arrived now (of a force window: one reading (C,)).

        Returns:
            Whether its source began again, so that everything was forgotten before it.
        """
        restarted = self.collector.restarted(name, stamp_ns)
        if restarted:
            self._trigger.flush()
            self._deadline_s = None
            self.epoch += 1
        waiting = self._trigger.pending
        self._trigger.add(name, stamp_ns, value, now_s)
        if self._trigger.pending and not waiting:
            self._pending_s = now_s
        return restarted

    @property
    def collecting(self) -> bool:
        """Whether a latent is due and waits for what else belongs to its moment."""
        return self._deadline_s is not None

    def due_s(self) -> float:
        """Return when the next latent is due if nothing else comes; infinity if nobody asks."""
        if not self._trigger.pending:
            return math.inf
        if self._deadline_s is not None:
            return self._deadline_s
        return max(self._pending_s, self._next_s)

    def ready(self, now_s: float) -> bool:
        """Return whether the latent that is due is to be taken now; False = collect, or go on so.

        Call it at `due_s()`, and while `collecting` after every message.
        """
        if self.pace.trigger == "timer" or self.pace.collect_timeout_s <= 0.0:
            return True
        if self._deadline_s is None:
            self._trigger.begin()
            self._deadline_s = now_s + self.pace.collect_timeout_s
        return not self._trigger.awaited(now_s, self._deadline_s - now_s)

    def take(self, now_s: float) -> Due:
        """Return what belongs to the moment, and wait for the next one."""
        arrival_s = self._trigger.arrival_s
        self._deadline_s = None
        self._next_s = max(self._next_s + 1.0 / self.pace.max_rate_hz, now_s)
        observation = self._trigger.take(now_s)
        return Due(epoch=self.epoch, observation=observation, at_s=now_s, arrival_s=arrival_s)
