"""A bag through engine and perceiver by its receive times; who listens gets what comes of it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from smvae_core.bags import NotOfType, decoded
from smvae_core.fusion.engine import Engine, Stamps, Taken
from smvae_core.fusion.playback import Playback
from smvae_core.fusion.rules import Observation
from smvae_core.modality import require_messages
from smvae_core.perceiver import Perceived, Perceiver
from smvae_core.recorded_clock import RecordedClock
from smvae_core.runtime import Runtime
from smvae_core.settings import Settings
from smvae_datasets.recordings.convert import Recording
from smvae_training.evaluate.bag.inputs import Input, by_topic


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One latent, and all that the bag held at the time that it answers for."""

    perceived: Perceived
    """Its posterior is finite."""
    epoch: int
    everything: Observation
    """Of when it answers for, as if no modality were dropped."""
    received_ns: int
    """Receive time of the bag at which it was made."""


@dataclass(frozen=True, kw_only=True)
class _Made:
    """One latent that waits for the time that it answers for."""

    at_s: float
    epoch: int
    perceived: Perceived

    @property
    def due_s(self) -> float:
        return self.at_s + self.perceived.ahead_s


class Listener(Protocol):
    """Takes what a replay meets, in order."""

    def on_sample(self, name: str, stamp_ns: int, value: Any, epoch: int) -> None:
        """Take one stored sample: a message, or of a force window one reading (C,).

        `stamp_ns` is when it happened: its stamp less the sensor's `stamp_offset_s`.
        """

    def on_moment(self, moment: Moment) -> None:
        """Take one latent."""


class BagReplay:
    """Feeds a bag's messages as the node's callbacks would, with receive time for a clock."""

    def __init__(
        self,
        bag: Recording,
        runtime: Runtime,
        settings: Settings,
        inputs: Collection[Input],
        dropped: Callable[[str, float], bool] | None = None,
    ) -> None:
        """Prepare a pass over an open bag.

        Args:
            bag: Open.
            runtime: Makes the latents; used by nobody else meanwhile.
            settings: Of the node.
            inputs: See `find_inputs`.
            dropped: Whether a modality's message of a time in the bag [s] never comes; it is still
                compared with.

        Raises:
            ConfigError: If a modality has no messages, or the trigger cannot be.
        """
        require_messages(runtime.modalities)
        self.runtime = runtime
        self.settings = settings
        self._bag, self._inputs = bag, by_topic(inputs)
        self.simulated = RecordedClock.of(bag, list(self._inputs)).followed
        """Whether the node's clock is that of /clock."""
        sources = settings.sources | {i.modality.name: i.source for i in inputs}
        late_s = runtime.late_s(settings.memory_s)
        self.engine = Engine(
            runtime.modalities, settings.rules, settings.pace, sources, late_s=late_s
        )
        self._dropped = dropped
        self._whole = self.engine  # of all messages, also those that never come
        if dropped is not None:
            self._whole = Engine(
                runtime.modalities, settings.rules, settings.pace, sources, late_s=late_s
            )
        self.perceiver = Perceiver(runtime)
        self.perceiver.configure(
            sources, settings.memory_s, settings.predict_ahead_s, settings.suspicion
        )
        self._made: deque[_Made] = deque()
        self.messages = 0
        self.late = 0
        """Messages whose receive time lies before their predecessor's."""
        self.not_finite = 0
        """Moments at which the model's output was no numbers: the node publishes ERROR."""

    def run(self, listener: Listener, advance: Callable[[int], None] = lambda amount: None) -> None:
        """Feed everything.

        Args:
            listener: Takes samples and latents.
            advance: Called with the number of messages done since.

        Raises:
            BagError: If the bag is damaged, or not one message of a topic is of its type.
        """
        clock = RecordedClock(followed=self.simulated)
        playback = Playback(
            self.engine, self._bag.begin_ns, lambda taken: self._make(listener, taken), clock
        )

        def refuse(topic: str, received_ns: int, err: NotOfType) -> None:
            for each in self._inputs.get(topic, ()):
                playback.refuse(each.modality.name, received_ns, "decode", str(err))
                advance(1)

        read = dict.fromkeys((*self._inputs, *clock.topics))
        for topic, received_ns, message in decoded(self._bag, list(read), refuse):
            if topic in clock.topics and playback.tick(received_ns, message):
                self._tell(listener, math.inf)  # what they answer for never comes
                if self._whole is not self.engine:
                    self._whole.flush()
            for each in self._inputs.get(topic, ()):
                self._feed(listener, playback, each.modality.name, received_ns, message)
                advance(1)
        playback.finish()
        self._tell(listener, math.inf)

    def why_none(self) -> str:
        """Return what became of the messages of a bag without a latent."""
        status = self.engine.collector.observe(0.0).status
        words = []
        for name, one in status.items():
            reasons = ", ".join(f"{n} x {reason}" for reason, n in one.reject_reasons.items())
            counts = f"{one.received} received, {one.rejected} rejected"
            words.append(f"{name}: {counts} ({reasons or '-'})")
        return "; ".join([*words, f"{self.not_finite} moments of no finite output"])

    def _feed(
        self, listener: Listener, playback: Playback, name: str, received_ns: int, message: Any
    ) -> None:
        """Give a message to one of the modalities that read it."""
        at_s = self.seconds(received_ns)
        there = self._dropped is None or not self._dropped(name, at_s)
        held = verdict = playback.receive(name, received_ns, message) if there else None
        # once time jumped, what they answer for never comes
        self._tell(listener, math.inf if verdict is not None and verdict.restarted else at_s)
        if self._whole is not self.engine:
            held = self._whole.receive(name, message, Stamps(at_s, playback.clock.at(received_ns)))
        if held is not None and not held.reason:
            at_ns = self._whole.collector.channel(name).corrected_ns(held.stamp_ns)
            listener.on_sample(name, at_ns, held.value, self.engine.epoch)
        if verdict is not None:
            playback.settle(verdict)
        self.messages += 1
        self.late = playback.late

    def seconds(self, received_ns: int) -> float:
        """Return a receive time as seconds since the bag's first message, the steady clock."""
        return (received_ns - self._bag.begin_ns) * 1e-9

    def _make(self, listener: Listener, taken: Taken) -> None:
        collector, at_s = self.engine.collector, taken.at_s
        perceived = self.perceiver.perceive(
            taken.epoch,
            taken.observation,
            lambda name, stamp, *why: collector.drop(name, stamp, at_s, *why),
            lambda reference_ns: collector.observe(at_s, reference_ns),
        )
        if perceived is None:
            return
        if not perceived.finite:
            self.not_finite += 1
            return
        made = _Made(
            at_s=at_s,
            epoch=taken.epoch,
            perceived=perceived,
        )
        self.perceiver.judge()
        self._made.append(made)
        if not perceived.ahead_s:
            self._tell(listener, at_s)

    def _tell(self, listener: Listener, now_s: float) -> None:
        """Give away the latents whose time has come, with what the bag holds of it by then."""
        while self._made and self._made[0].due_s <= now_s:
            made = self._made.popleft()
            answers_ns = made.perceived.answers_ns
            whole = self._whole.collector
            listener.on_moment(
                Moment(
                    perceived=made.perceived,
                    epoch=made.epoch,
                    everything=whole.observe(made.due_s, answers_ns, everything=True),
                    received_ns=self._bag.begin_ns + round(made.at_s * 1e9),
                )
            )
