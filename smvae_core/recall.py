"""What a runtime's memory makes of a moment: present and remembered samples -> one posterior."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.belief import Element, Filter, FilterParameters
from smvae_core.bundle import READ, RECALL
from smvae_core.fusion.rules import FusionState, Observation
from smvae_core.memory import Memory

Array = NDArray[np.float32]


class Networks(Protocol):
    """Runs the graphs of a bundle."""

    def run(self, role: str, **inputs: NDArray[Any]) -> list[Array]: ...


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
        self._key: Hashable = None
        self._offsets_ns: dict[str, int] = {}

    def try_out(self, read: Callable[[str], tuple[Array, Array, Array]]) -> tuple[Array, Array]:
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

    def begin(self, key: Hashable) -> None:
        """Forget everything unless the same was said last: an epoch, how messages are read."""
        if key != self._key:
            self.forget()
            self._key = key

    def take(
        self, observation: Observation, read: Callable[[str], tuple[Array, Array, Array]]
    ) -> None:
        """Make elements of the samples of a moment.

        One that comes too late, or is read as no finite number, is fused no more.

        Args:
            observation: The moment; statuses and samples are changed.
            read: Gives the embedding (D,) of a fused sample, its log precision and mean (Z,).
        """
        for name in tuple(observation.samples):
            status, sensor = observation.status[name], self._index[name]
            corrected_ns = observation.reference_ns - round(status.age_s * 1e9)
            offset_ns = status.stamp_ns - corrected_ns
            if self._offsets_ns.setdefault(name, offset_ns) != offset_ns:
                self.memory.forget()  # what is there has other stamps
                self._offsets_ns = {name: offset_ns}
            # who holds the last one says that it is true now
            stamp_ns = observation.reference_ns if status.held else corrected_ns
            if self.memory.holds(sensor, stamp_ns):
                continue
            element = self.filter.element(sensor, stamp_ns, *read(name))
            if not element.finite:
                state, reason = FusionState.REJECTED, "the networks read no finite number of it"
            else:
                state, reason = FusionState.STALE, self.memory.insert(element)
            if reason:
                del observation.samples[name]
                status.state, status.reason = state, reason

    def read(self, sensor: int, stamp_ns: int, embedding: Array) -> Element:
        """Return the element of any embedding (D,)."""
        *_, log_precision, mean = self._networks.run(READ, embeddings=embedding[None, None])
        return self.filter.element(sensor, stamp_ns, embedding, log_precision[0, 0], mean[0, 0])

    def posterior(self, observation: Observation, memory_s: float) -> tuple[Array, Array]:
        """Return mean and log variance (Z,) of a moment; its statuses say what they rest on.

        Where they are no numbers all is forgotten, so that the next moment begins anew.

        Args:
            observation: See `take`, which comes before; its statuses are changed.
            memory_s: How far back samples count.
        """
        reference_ns = observation.reference_ns
        off = [n for n, s in observation.status.items() if s.state is FusionState.DISABLED]
        self.memory.drop(self._index[name] for name in off)
        fused = {self._index[name] for name in observation.samples}
        found = self.at(reference_ns, memory_s, fused)
        for sensor, listed in self.memory.listed().items():
            name = self._names[sensor]
            status, offset_ns = observation.status[name], self._offsets_ns[name]
            status.elements, status.folded = listed.elements, listed.folded
            status.oldest_ns = listed.oldest.stamp_ns + offset_ns
            if name not in observation.samples:
                status.state = FusionState.REMEMBERED
                status.stamp_ns = listed.newest.stamp_ns + offset_ns
                status.age_s = (reference_ns - listed.newest.stamp_ns) * 1e-9
        if not all(np.isfinite(part).all() for part in found):
            self.forget()
        return found

    def at(
        self, reference_ns: int, memory_s: float, fused: Collection[int] = ()
    ) -> tuple[Array, Array]:
        """Return mean and log variance (Z,) at a moment, see `Memory.at`."""
        belief = self.memory.at(reference_ns, memory_s, fused)
        mean, log_var = self._networks.run(RECALL, **self.filter.inputs(belief))
        return mean[0], log_var[0]
