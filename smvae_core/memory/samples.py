"""The set over time on a robot: stamped samples in, what they say together of any moment out.

Samples come one by one, in any order within `LATE_S`. Each costs one step of the filter
(`smvae_core/memory/belief.py`) and, where it is late, one for each that it goes before,
however much is remembered. What is older is folded: it counts through the running belief, exactly
as if it were still apart, and nothing can be put before it any more.

The samples of the last `memory_s` stay listed, at most `RING` of each sensor. A sensor that was
silent for longer is forgotten: the belief is made anew from what is listed of the others.

Bounded: M sensors x `RING` samples of 8 (3 Z + W + R) + 4 D bytes, and for those of the last
`LATE_S` a belief each of 8 (2 Z + M (3 Z + R + W (1 + M + K))) bytes.

M sensors, Z latent, W width of a path, R rank of its bend, K histories, D embedding.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable
from operator import attrgetter
from typing import NamedTuple

from smvae_core.memory.belief import Belief, Element, Filter

#: A sample may come so long after a later one [s]; what is older than that is folded.
LATE_S = 1.0
#: At most so many samples of one sensor are listed.
RING = 512
#: No memory is longer [s].
LONGEST_S = 600.0

_LATE_NS = round(LATE_S * 1e9)
_stamp = attrgetter("stamp_ns")
_order = attrgetter("stamp_ns", "sensor")


class Listed(NamedTuple):
    """What is remembered of one sensor."""

    elements: int
    """Samples within `memory_s`."""
    folded: int
    """Older ones, which count through the running belief alone."""
    newest: Element
    oldest: Element
    """Of the elements."""


class Memory:
    """Samples by stamp, and the belief that they make."""

    def __init__(self, model: Filter, *, ring: int = RING) -> None:
        """Start empty.

        Args:
            model: How beliefs age and what a sample adds.
            ring: At most so many samples of one sensor are listed.
        """
        self._model, self._size = model, ring
        self.forget()

    def forget(self) -> None:
        """Know nothing any more: another epoch, a time jump, a reset."""
        self._rings: list[list[Element]] = [[] for _ in range(self._model.sensors)]
        self._further = [0] * self._model.sensors
        self._start(())

    # --- what arrives ----------------------------------------------------------------------------

    def holds(self, sensor: int, stamp_ns: int) -> bool:
        """Return whether a sensor's sample with this stamp is listed."""
        ring = self._rings[sensor]
        if not ring or ring[-1].stamp_ns <= stamp_ns:  # as a rule
            return bool(ring) and ring[-1].stamp_ns == stamp_ns
        return ring[bisect_left(ring, stamp_ns, key=_stamp)].stamp_ns == stamp_ns

    def insert(self, element: Element) -> str:
        """Take a sample; return why it is refused, '' = it is not.

        The same one again changes nothing.
        """
        if self.holds(element.sensor, element.stamp_ns):
            return ""
        if self._fold_ns is not None and element.stamp_ns < self._fold_ns:
            behind_s = (self._fold_ns - element.stamp_ns) * 1e-9
            return f"{behind_s:.3f} s older than what memory has folded, {LATE_S:g} s at most"
        ring, recent = self._rings[element.sensor], self._recent
        if not recent or recent[-1].stamp_ns < element.stamp_ns:  # as a rule
            ring.append(element)
            recent.append(element)
            return ""
        insort(ring, element, key=_stamp)
        index = bisect_right(recent, _order(element), key=_order)
        recent.insert(index, element)
        del self._after[index:]
        return ""

    def drop(self, sensors: Iterable[int]) -> None:
        """Forget everything of some sensors; the belief is made anew without them."""
        gone = [s for s in sensors if self._rings[s] or self._further[s]]
        if gone:
            for sensor in gone:
                self._rings[sensor] = []
            self._further = [0] * len(self._further)
            self._start(sorted((e for ring in self._rings for e in ring), key=_order))

    # --- what is known ---------------------------------------------------------------------------

    def at(
        self,
        reference_ns: int,
        memory_s: float,
        fused: Collection[int] = (),
        ahead_s: float = 0.0,
    ) -> Belief:
        """Return the belief at a moment; a sample that is newer than it counts as one of it.

        Args:
            reference_ns: The moment.
            memory_s: How long samples stay listed, and sensors may be silent.
            fused: Sensors whose newest sample counts whatever its age.
            ahead_s: How much older the belief is than the moment, as if nothing new had come.
        """
        self._bound(reference_ns, memory_s, fused)
        for index in range(len(self._after), len(self._recent)):
            self._after.append(self._model.added(self._before(index), self._recent[index]))
        recent = self._recent
        index = len(recent)
        if recent and recent[-1].stamp_ns > reference_ns:
            index = bisect_right(recent, reference_ns, key=_stamp)
        belief, answers_ns = self._before(index), reference_ns + round(ahead_s * 1e9)
        if index < len(recent):
            belief = self._model.aged(belief, reference_ns)
        for element in recent[index:]:
            belief = self._model.added(belief, element._replace(stamp_ns=reference_ns))
        return self._model.aged(belief, answers_ns)  # in one piece, as a stamp bends the way

    def listed(self) -> dict[int, Listed]:
        """Return what is remembered of each sensor of which anything is listed."""
        return {
            sensor: Listed(len(ring), self._further[sensor], newest=ring[-1], oldest=ring[0])
            for sensor, ring in enumerate(self._rings)
            if ring
        }

    def _bound(self, reference_ns: int, memory_s: float, fused: Collection[int]) -> None:
        """Forget silent sensors, unlist what is old or too much, fold what is late no more."""
        oldest_ns = reference_ns - round(min(memory_s, LONGEST_S) * 1e9)
        old = [
            sensor
            for sensor, ring in enumerate(self._rings)
            if ring and (ring[0].stamp_ns < oldest_ns or len(ring) > self._size)
        ]
        silent = [s for s in old if self._rings[s][-1].stamp_ns < oldest_ns and s not in fused]
        if silent:
            self.drop(silent)
        recent = self._recent
        fold_ns = recent[-1].stamp_ns - _LATE_NS if recent else 0
        for sensor in old:
            ring = self._rings[sensor]
            last = len(ring) - 1
            count = max(last + 1 - self._size, 0)
            while count < last and ring[count].stamp_ns < oldest_ns:  # one or two, as a rule
                count += 1
            if count:
                fold_ns = max(fold_ns, ring[count - 1].stamp_ns + 1)
                self._further[sensor] += count
                del ring[:count]
        while recent and recent[0].stamp_ns < fold_ns:
            self._fold()

    def _start(self, elements: Iterable[Element]) -> None:
        """Know these samples, in order, and nothing else; all may yet be put between."""
        self._folded = self._model.blank()
        self._fold_ns: int | None = None
        self._recent: list[Element] = list(elements)
        self._after: list[Belief] = []  # the belief after each recent one, as far as it is known

    def _before(self, index: int) -> Belief:
        """Return the belief before the recent sample at an index."""
        return self._after[index - 1] if index else self._folded

    def _fold(self) -> None:
        """Put the oldest recent sample into the running belief."""
        element = self._recent.pop(0)
        known = self._after.pop(0) if self._after else None
        self._folded = known or self._model.added(self._folded, element)
        self._fold_ns = element.stamp_ns
