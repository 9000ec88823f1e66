"""What a runtime's memory makes of a moment: present and remembered samples -> one posterior."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.bundle import READ, RECALL
from smvae_core.fusion.rules import TOO_LATE, Further, FusionState, Observation
from smvae_core.memory.belief import Element, Filter, FilterParameters
from smvae_core.memory.samples import Memory

Array = NDArray[np.float32]
#: Embedding e and FC_term(e) (D,), log precision and mean (Z,) of a sample.
Reading = tuple[Array, Array, Array, Array]


class Networks(Protocol):
    """Runs the graphs of a bundle."""

    def run(self, role: str, **inputs: NDArray[Any]) -> list[Array]: ...

    def bound(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[Array]
    ) -> Callable[[], object]: ...


class Recall:
    """The memory of one runtime, by the names of its modalities."""

    def __init__(
        self, names: tuple[str, ...], parameters: FilterParameters, networks: Networks
    ) -> None:
        """Start empty.

        Args:
            names: Of the modalities, in the manifest's order.
            parameters: Of the filter.
            networks: Has the graphs `READ` and `RECALL`.
        """
        self._names, self._index = names, {name: i for i, name in enumerate(names)}
        self.filter, self._networks = Filter(parameters), networks
        self.memory = Memory(self.filter)
        given = self.filter.inputs
        self._found = np.zeros((2, *given["told"].shape), np.float32)  # mean, log variance
        self._each = np.ones(self._found.shape[2], np.float32)
        self._recall = networks.bound(RECALL, given, list(self._found))
        self._key: Hashable = None
        self._offsets_ns: dict[str, int] = {}
        self._unlisted: dict[str, list[int]] = {}  # further samples that no posterior has told of

    def try_out(self, read: Callable[[str], Reading]) -> tuple[Array, Array]:
        """Return mean and log variance of the present samples, and forget them; see `take`."""
        self.forget()
        for sensor, name in enumerate(self._names):
            self.memory.insert(self.filter.element(sensor, 1, *read(name)))
        found = self.at(1, 1.0)
        self.forget()
        return found

    def forget(self) -> None:
        """Know nothing any more."""
        self.memory.forget()
        self._key = None
        self._offsets_ns.clear()
        self._unlisted.clear()

    @property
    def begun(self) -> bool:
        """Whether anything may be known."""
        return self._key is not None

    def begin(self, key: Hashable) -> None:
        """Forget everything unless the same was said last: an epoch, how messages are read."""
        if key != self._key:
            self.forget()
            self._key = key

    def take(self, observation: Observation, read: Callable[[str], Reading]) -> None:
        """Make elements of the samples of a moment.

        One that comes too late, or is read as no finite number, is fused no more.

        Args:
            observation: The moment; statuses and samples are changed.
            read: Gives the reading of a fused sample.
        """
        for name in tuple(observation.samples):
            status, sensor = observation.status[name], self._index[name]
            corrected_ns = observation.reference_ns - round(status.age_s * 1e9)
            self._note_offset(name, status.stamp_ns - corrected_ns)
            # who holds the last one says that it is true now
            stamp_ns = observation.reference_ns if status.held else corrected_ns
            if self.memory.holds(sensor, stamp_ns):
                continue
            refused = self._insert(self.filter.element(sensor, stamp_ns, *read(name)))
            if refused:
                del observation.samples[name]
                late = refused[0] == TOO_LATE
                status.state = FusionState.STALE if late else FusionState.REJECTED
                status.reason = refused[1]

    def add(self, name: str, further: Further, reading: Reading) -> tuple[str, str] | None:
        """Make an element of a sample that is of no moment, of its `reading`.

        Returns:
            Why it is refused, in a word and in full; None = it is not.
        """
        self._note_offset(name, further.stamp_ns - further.at_ns)
        element = self.filter.element(self._index[name], further.at_ns, *reading)
        if (refused := self._insert(element)) is None:
            self._unlisted.setdefault(name, []).append(further.stamp_ns)
        return refused

    def has(self, name: str, at_ns: int) -> bool:
        """Return whether a sensor's sample of a time is listed."""
        return self.memory.holds(self._index[name], at_ns)

    def _insert(self, element: Element) -> tuple[str, str] | None:
        """Put an element into memory; return why it is refused, in a word and in full."""
        if not element.finite:
            return "value", "the networks read no finite number of it"
        text = self.memory.insert(element)
        return (TOO_LATE, text) if text else None

    def _note_offset(self, name: str, offset_ns: int) -> None:
        """Forget all where a sensor's `stamp_offset_s` is another than before."""
        if self._offsets_ns.setdefault(name, offset_ns) != offset_ns:
            self.memory.forget()  # what is there has other stamps
            self._offsets_ns = {name: offset_ns}
            self._unlisted.clear()

    def read(self, sensor: int, stamp_ns: int, embedding: Array) -> Element:
        """Return the element of any embedding (D,)."""
        read = self._networks.run(READ, embeddings=embedding[None, None])
        return self.filter.element(sensor, stamp_ns, embedding, *(part[0, 0] for part in read))

    def posterior(
        self, observation: Observation, memory_s: float, ahead_s: float = 0.0
    ) -> tuple[Array, Array]:
        """Return mean and log variance (Z,) of a moment; its statuses say what they rest on.

        Where they are no numbers all is forgotten, so that the next moment begins anew.

        Args:
            observation: See `take`, which comes before; its statuses are changed.
            memory_s: How far back samples count.
            ahead_s: See `Memory.at`; statuses are of the moment.
        """
        reference_ns = observation.reference_ns
        # of suspects that were left out, what they said before is doubted too
        off = [
            n
            for n, s in observation.status.items()
            if s.state is FusionState.DISABLED
            or (s.suspect and s.state is FusionState.REJECTED and not s.novel)
        ]
        if off:
            self.memory.drop(self._index[name] for name in off)
        fused = {self._index[name] for name in observation.samples}
        found = self.at(reference_ns, memory_s, fused, ahead_s)
        for sensor, listed in self.memory.listed().items():
            name = self._names[sensor]
            status, offset_ns = observation.status[name], self._offsets_ns[name]
            status.elements, status.folded = listed.elements, listed.folded
            status.oldest_ns = listed.oldest.stamp_ns + offset_ns
            if name not in observation.samples:
                status.state = FusionState.REMEMBERED
                status.stamp_ns = listed.newest.stamp_ns + offset_ns
                status.age_s = (reference_ns - listed.newest.stamp_ns) * 1e-9
        for name, stamps_ns in self._unlisted.items():
            observation.status[name].further_ns = tuple(stamps_ns)
        self._unlisted.clear()
        if not math.isfinite(np.dot(self._each, found[0]) + np.dot(self._each, found[1])):
            self.forget()
        return found

    def at(
        self,
        reference_ns: int,
        memory_s: float,
        fused: Collection[int] = (),
        ahead_s: float = 0.0,
    ) -> tuple[Array, Array]:
        """Return mean and log variance (Z,) at a moment, see `Memory.at`."""
        belief = self.memory.at(reference_ns, memory_s, fused, ahead_s)
        self.filter.put(belief)
        self._recall()
        mean, log_var = self._found[:, 0].copy()
        return mean, log_var
