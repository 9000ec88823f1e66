"""A bag through feed and perceiver, by its receive times; who listens gets messages and moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from smvae_core.bags import Bag
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.engine import Due, Feed
from smvae_core.fusion.rules import Observation
from smvae_core.fusion.source import REFUSALS
from smvae_core.messages import require_converters, stamp_ns
from smvae_core.novelty_scorer import NoveltyReport
from smvae_core.perceiver import Perceived, Perceiver
from smvae_core.runtime import Runtime
from smvae_core.settings import Settings
from smvae_training.bag_evaluation.inputs import Input


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One latent, and all that the bag held at its reference time."""

    perceived: Perceived
    """Its posterior is finite."""
    epoch: int
    novelty: NoveltyReport
    everything: Observation
    """As if no modality were dropped."""
    received_ns: int
    """Receive time of the bag at which it was made."""


class Listener(Protocol):
    """Takes what a replay meets, in order."""

    def on_sample(self, name: str, stamp_ns: int, value: Any, epoch: int) -> None:
        """Take one stored sample: a message, or of a force window one reading (C,)."""

    def on_moment(self, moment: Moment) -> None:
        """Take one latent."""


class BagReplay:
    """Feeds a bag's messages as the node's callbacks would, with receive time for a clock."""

    def __init__(
        self,
        bag: Bag,
        runtime: Runtime,
        settings: Settings,
        inputs: Mapping[str, Input],
    ) -> None:
        """Prepare a pass over an open bag.

        Args:
            bag: Open.
            runtime: Makes the latents; used by nobody else meanwhile.
            settings: Of the node.
            inputs: By topic, see `find_inputs`.

        Raises:
            ConfigError: If a modality has no messages, or the trigger cannot be.
        """
        require_converters(runtime.modalities)
        self.runtime = runtime
        self.settings = settings
        self._bag, self._inputs = bag, dict(inputs)
        self.feed = Feed(runtime.modalities, settings.rules, settings.pace)
        self.refusals: dict[str, str] = {}
        """Why the first message of a modality that could not be used was not, in words."""
        self.perceiver = Perceiver(runtime, rejected=self._refused)
        self.perceiver.configure({i.modality.name: i.source for i in inputs.values()})
        self._all = self.feed.collector
        if settings.dropped:
            every = {n: replace(rule, enabled=True) for n, rule in settings.rules.items()}
            self._all = Collector(runtime.modalities, every)
        self._ticks: dict[str, int] = {}
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
            BagError: If the bag is damaged.
        """
        now_ns = self._bag.begin_ns
        for topic, received_ns, data in self._bag.messages(list(self._inputs)):
            self.late += received_ns < now_ns
            now_ns = max(now_ns, received_ns)
            self._catch_up(listener, now_ns)
            self._take(listener, self._inputs[topic], self._bag.decode(topic, data), now_ns)
            self.messages += 1
            advance(1)
        self._catch_up(listener, None)

    def seconds(self, received_ns: int) -> float:
        """Return a receive time as seconds since the bag's first message, the steady clock."""
        return (received_ns - self._bag.begin_ns) * 1e-9

    def _catch_up(self, listener: Listener, until_ns: int | None) -> None:
        """Make what is due before a message comes (at the end: all that is due)."""
        end_s = float("inf") if until_ns is None else self.seconds(until_ns)
        while (due_s := self.feed.due_s()) < end_s:
            if self.feed.ready(due_s):
                self._make(listener, self.feed.take(due_s))

    def _take(self, listener: Listener, source: Input, message: Any, received_ns: int) -> None:
        """Check the header and store the message, as the node's callback does.

        A message without a header counts as acquired when the bag received it.
        """
        name, now_s = source.modality.name, self.seconds(received_ns)
        stamp = stamp_ns(message, self._arrival_ns(source, received_ns))
        reason, value = self.feed.bad_stamp(stamp, received_ns), message
        frame, stamped = source.source.frame_id, source.source.converter.stamped
        if not reason and frame and stamped and message.header.frame_id != frame:
            reason = "frame"
        if not reason and source.modality.kind == "force_window":
            try:
                value = source.source.read(source.modality, message)
            except REFUSALS as err:
                reason = err.reason
                self._refused(name, str(err))
        if reason:
            self.feed.collector.reject(name, stamp, now_s, reason)
            return
        restarted = self.feed.put(name, stamp, value, now_s)
        if self._all is not self.feed.collector:
            if restarted:
                self._all.flush()
            self._all.add(name, stamp, value, now_s)
        listener.on_sample(name, stamp, value, self.feed.epoch)
        if self.feed.collecting and self.feed.ready(now_s):
            self._make(listener, self.feed.take(now_s))

    def _arrival_ns(self, source: Input, received_ns: int) -> int | None:
        """Return the stamp of a message without header, told apart from its predecessor's."""
        if source.source.converter.stamped:
            return None
        name = source.modality.name
        self._ticks[name] = max(received_ns, self._ticks.get(name, 0) + 1)
        return self._ticks[name]

    def _refused(self, name: str, text: str) -> None:
        self.refusals.setdefault(name, text)

    def _make(self, listener: Listener, due: Due) -> None:
        collector = self.feed.collector
        perceived = self.perceiver.perceive(
            due.epoch,
            due.observation,
            lambda name, stamp, reason: collector.drop(name, stamp, due.at_s, reason),
            lambda reference_ns: collector.observe(due.at_s, reference_ns),
        )
        if perceived is None:
            return
        if not perceived.finite:
            self.not_finite += 1
            return
        observation = perceived.observation
        listener.on_moment(
            Moment(
                perceived=perceived,
                epoch=due.epoch,
                novelty=self.runtime.novelty_report(observation.subset, perceived.posterior),
                everything=self._all.observe(due.at_s, observation.reference_ns),
                received_ns=self._bag.begin_ns + round(due.at_s * 1e9),
            )
        )
