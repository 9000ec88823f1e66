"""A lock around the engine: callbacks leave messages, the inference thread takes what is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from smvae_core.fusion.engine import Engine, Stamps, Taken, Verdict
from smvae_core.fusion.rules import FusionRule, ModalityStatus, Observation, Pace
from smvae_core.fusion.source import Source
from smvae_core.modality import Modality


class Bell(Protocol):
    """How one thread waits for the mailbox to change."""

    def ring(self) -> None:
        """End the present wait, or else the next one, at once; from any thread."""

    def wait(self, timeout_s: float) -> None:
        """Return when it rang, at the latest after this time; sooner does no harm."""


class EventBell:
    """A bell for a thread that does nothing while it waits."""

    def __init__(self) -> None:
        self._rang = threading.Event()

    def ring(self) -> None:
        self._rang.set()

    def wait(self, timeout_s: float) -> None:
        self._rang.wait(timeout_s)
        self._rang.clear()


class Mailbox:
    """The engine for several threads, on the steady clock.

    What is taken, what belongs together, who waits for whom and when a latent is due is decided in
    `smvae_core.fusion.engine`; here are the lock, the clock and the waiting.
    """

    def __init__(
        self,
        modalities: tuple[Modality, ...],
        rules: Mapping[str, FusionRule],
        pace: Pace,
        sources: Mapping[str, Source] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        epoch: int = 0,
        bell: Bell | None = None,
    ) -> None:
        """Start empty.

        Args:
            modalities: What the model knows.
            rules: One per modality.
            pace: When latents are made.
            sources: How the messages of each modality are read; None = as each kind's default.
            clock: Steady time [s].
            epoch: To begin with: that of the model before this one, so that it only ever rises.
            bell: How the thread waits that takes; None = it does nothing meanwhile.
        """
        self._clock = clock
        self._lock = threading.RLock()
        self._bell = bell or EventBell()
        self._engine = Engine(modalities, rules, pace, sources, epoch=epoch)
        self._closed = False

    @property
    def epoch(self) -> int:
        return self._engine.epoch

    @property
    def missed(self) -> int:
        """Samples that were replaced before a latent was made of them, see `Engine.missed`."""
        return self._engine.missed

    def configure(
        self,
        rules: Mapping[str, FusionRule],
        pace: Pace,
        sources: Mapping[str, Source],
        late_s: float = 0.0,
    ) -> None:
        """Apply changed parameters, see `Engine.configure`."""
        with self._lock:
            self._engine.configure(rules, pace, sources, late_s)
            self._bell.ring()

    def set_publishers(self, name: str, count: int | None) -> None:
        """Note how many publishers a topic has, None = unknown; without any it is ABSENT."""
        with self._lock:
            self._engine.collector.set_publishers(name, count)

    def receive(
        self,
        name: str,
        message: Any,
        clock_ns: int,
        info: Mapping[str, Any] | None = None,
        arrived_s: float | None = None,
    ) -> Verdict:
        """Check and store one message, or count why not; wake the thread if it waits for it.

        Args:
            name: Modality.
            message: As it came.
            clock_ns: The node's clock; 0 = simulated time has not started.
            info: What the middleware tells beside it, see `TopicStatistics.arrived`.
            arrived_s: When it came, where it was embedded since; None = now.
        """
        info = info or {}
        sent, received = info.get("source_timestamp", 0), info.get("received_timestamp", 0)
        with self._lock:
            now_s = self._clock()
            came_s = now_s if arrived_s is None else arrived_s
            stamps = Stamps(now_s, clock_ns, sent, received, came_s)
            verdict = self._engine.receive(name, message, stamps)
            if verdict.wakes:
                self._bell.ring()
        return verdict

    def reject(self, name: str, reason: str, text: str) -> None:
        """Count a message that could not even be looked at."""
        with self._lock:
            self._engine.reject(name, self._clock(), reason, text)

    def each_counts(self, name: str) -> bool:
        """Return whether each sample of a modality is likely to be fused, see the engine's."""
        with self._lock:
            return self._engine.each_counts(name)

    def drop(self, name: str, stamp_ns: int, reason: str, text: str = "") -> None:
        """Take back a stored message that turned out to be bad."""
        with self._lock:
            self._engine.drop(name, stamp_ns, self._clock(), reason, text)

    def flush(self) -> int:
        """Forget all samples and begin a new epoch; return its number."""
        with self._lock:
            self._engine.flush()
            self._bell.ring()
            return self._engine.epoch

    def open(self) -> None:
        """Accept waiting again after `close`: a new activation, which counts from zero."""
        with self._lock:
            self._closed = False
            self._engine.reset_counts()

    def close(self) -> None:
        """Wake a waiting thread for good."""
        with self._lock:
            self._closed = True
            self._bell.ring()

    def take(self, timeout_s: float) -> Taken | None:
        """Wait until a latent is due, and return what it is to be made of.

        None if none was due within the time, or the mailbox was closed.
        """
        end_s = self._clock() + timeout_s
        while not self._closed:
            with self._lock:
                now_s = self._clock()
                due_s = self._engine.due(now_s)
                if due_s <= now_s:
                    return self._engine.take(now_s)
            if now_s >= end_s:
                return None
            self._bell.wait(min(due_s, end_s) - now_s)
        return None

    def observe(self, reference_ns: int | None = None) -> Observation:
        """Return the observation at a reference time, whoever asks."""
        with self._lock:
            return self._engine.observe(self._clock(), reference_ns)

    def statuses(self, clock_ns: int) -> dict[str, ModalityStatus]:
        """Return what is known of every modality now, see `Engine.statuses`."""
        with self._lock:
            return self._engine.statuses(self._clock(), clock_ns)

    def blind(self) -> bool:
        """Return whether nothing alive can ask for a latent."""
        with self._lock:
            return self._engine.blind(self._clock())
