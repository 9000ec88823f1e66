"""The samples that latents list, kept until the last latent that lists them is done."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import refusing
from smvae_core.fusion.engine import Engine, Stamps, Verdict
from smvae_core.messages import has_stamp
from smvae_core.perceiver import Perceiver
from smvae_core.preprocessing import prepare
from smvae_training.evaluate.live.bag import Latent

#: A message without header has the node's time of arrival for a stamp, which the bag does not hold:
#: it is the one received nearest to it, at most so far apart.
NEAR_NS = 20_000_000


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What a window is made of."""

    stamps_ns: NDArray[np.int64]
    """(N,)."""
    values: list[Any]
    number: int = 0
    """How many readings of the recording had been taken with the last of them."""

    def without(self, row: int) -> Readings:
        """Return them without one."""
        values = self.values[:row] + self.values[row + 1 :]
        return Readings(stamps_ns=np.delete(self.stamps_ns, row), values=values)


class ListedSamples:
    """Takes messages by the engine's rules and keeps those that a latent lists.

    Memory holds what latents wait for, however long the recording is.
    """

    def __init__(self, engine: Engine, perceiver: Perceiver, latents: Iterable[Latent]) -> None:
        """Note what the latents list."""
        self._engine, self._perceiver = engine, perceiver
        self._modalities = {m.name: m for m in engine.modalities}
        self._wanted: dict[str, Counter[int]] = {m.name: Counter() for m in engine.modalities}
        for latent in latents:
            for name, stamp in latent.listed():
                self._wanted[name][stamp] += 1
        self._order = {name: sorted(stamps) for name, stamps in self._wanted.items()}
        self._kept: dict[str, dict[int, tuple[int, Any]]] = {n: {} for n in self._wanted}
        self._refused: dict[tuple[str, int], str] = {}

    def receive(self, name: str, message: Any, stamps: Stamps) -> None:
        """Take a message as the node does."""
        verdict = self._engine.receive(name, message, stamps)
        stamp = verdict.stamp_ns
        if not has_stamp(message):
            stamp = self._nearest(name, stamp)
        if stamp not in self._wanted[name]:
            return
        if verdict.reason:
            self._refused[name, stamp] = f"refused: {verdict.text or verdict.reason}"
            return
        apart, kept = abs(verdict.stamp_ns - stamp), self._kept[name].get(stamp)
        if kept is None or apart < kept[0]:
            self._kept[name][stamp] = apart, self._value(name, verdict)

    def _nearest(self, name: str, stamp: int) -> int:
        order = self._order[name]
        at = bisect_left(order, stamp)
        near = [s for s in order[max(0, at - 1) : at + 1] if abs(s - stamp) <= NEAR_NS]
        return min(near, key=lambda s: abs(s - stamp), default=stamp)

    def _value(self, name: str, verdict: Verdict) -> Any:
        channel = self._engine.collector.channel(name)
        if not channel.is_window:
            return verdict.value
        index = channel.pick(channel.corrected_ns(verdict.stamp_ns))
        assert index is not None
        stamps_ns, values = channel.readings(index)
        return Readings(stamps_ns=stamps_ns, values=values, number=channel.received)

    def find(self, name: str, stamp_ns: int) -> Any:
        """Return the message with a stamp, of a window its `Readings`; None if it is not there."""
        return self._kept[name].get(stamp_ns, (0, None))[1]

    def why_not(self, name: str, stamp_ns: int) -> str:
        """Return why there is none."""
        return self._refused.get((name, stamp_ns), "no message with its stamp in the recording")

    def prepared(self, name: str, value: Any) -> NDArray[Any]:
        """Convert and prepare a message as the node does.

        Raises:
            ConversionError: If it is not what its modality declares.
            SampleError: If it cannot be prepared.
        """
        with refusing(name):
            return prepare(self._modalities[name], self._perceiver.sample(name, value))

    def done(self, latent: Latent) -> None:
        """Forget what only this latent still needed."""
        for name, stamp in latent.listed():
            self._wanted[name][stamp] -= 1
            if not self._wanted[name][stamp]:
                del self._wanted[name][stamp]
                self._kept[name].pop(stamp, None)
                self._refused.pop((name, stamp), None)
