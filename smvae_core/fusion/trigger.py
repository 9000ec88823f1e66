"""Which message asks for a latent, of which moment, and who is waited for: live and offline.

No ROS, no threads, no clock of its own, as the collector below it: the node's mailbox locks it and
waits, a bag evaluator calls it with the times at which messages were received.
"""

from __future__ import annotations

from typing import Any

from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import TRIGGERS, FusionState, Observation


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


class Trigger:
    """Turns arriving samples into moments that ask for a latent.

    - `any`: every new sample of an enabled modality asks; the moment is the newest stamp of all.
    - `timer`: as `any`, for a caller that takes on a grid and does not collect.
    - a modality's name: only its samples ask; the moment is its newest stamp.

    Before a moment is taken the caller may collect, for a bounded time: with a modality, until all
    live others have reached its moment; with `any`, only for those whose rhythm says that they are
    due within that time. A burst of several sensors then makes one latent, and its second message
    does not wait for the next slot of a limited rate.
    """

    def __init__(self, collector: Collector, name: str = "any") -> None:
        """Start without a pending moment.

        Args:
            collector: Filled through `add` only.
            name: any, timer, or a modality's name.
        """
        self.collector = collector
        self.name = name
        self.pending = False
        """Whether something asks for a latent."""
        self.arrival_s = 0.0
        """When the newest message that asked arrived; once collecting, the one it began with."""
        self._collecting = False
        self._reference_ns = 0

    def add(self, name: str, stamp_ns: int, value: Any, now_s: float) -> bool:
        """Store a sample; return whether it was taken (its stamp increases)."""
        if not self.collector.add(name, stamp_ns, value, now_s, self._moment_ns()):
            return False
        if self.name in (*TRIGGERS, name) and self.collector.rule(name).enabled:
            self.pending = True
            if not self._collecting:
                self.arrival_s = now_s
        return True

    def flush(self) -> None:
        """Forget samples and whoever asked (after a time jump)."""
        self.collector.flush()
        self.pending = self._collecting = False

    def begin(self) -> None:
        """Begin to collect for the pending moment; `take` ends it."""
        self._collecting = True
        self._reference_ns = self._moment_ns() or 0

    def awaited(self, now_s: float, within_s: float) -> tuple[str, ...]:
        """Return the modalities worth waiting for while collecting, for at most `within_s`."""
        if not (self.pending and self._collecting) or within_s <= 0.0 or self.name == "timer":
            return ()
        due_s = within_s if self.name == "any" else None
        return self.collector.awaited(self._reference_ns, now_s, due_s)

    def take(self, now_s: float) -> Observation:
        """Return what belongs to the moment, and wait for the next one."""
        self.pending = self._collecting = False
        return self.collector.observe(now_s, self._moment_ns())

    def blind(self, now_s: float) -> bool:
        """Return whether nothing alive can ask for a latent."""
        status = self.collector.observe(now_s, self._moment_ns()).status
        asking = status.values() if self.name in TRIGGERS else (status[self.name],)
        return all(s.state != FusionState.FUSED or s.held for s in asking)

    def _moment_ns(self) -> int | None:
        return self.collector.newest_ns(None if self.name in TRIGGERS else self.name)
