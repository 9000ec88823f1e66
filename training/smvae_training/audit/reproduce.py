"""One recorded latent made again from the samples that it lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.fusion.rules import Further, FusionRule, FusionState
from smvae_core.fusion.source import REFUSALS
from smvae_core.memory.recall import Recall
from smvae_core.runtime import Posterior, Runtime
from smvae_training.audit.samples import Readings
from smvae_training.evaluate.live.bag import Latent

#: Largest difference that counts as equal: of means, which are of order 1, absolute; of variances,
#: which are small where much is known, relative.
TOLERANCE = 1e-3
#: A gap between readings of so many median gaps is one that a message is missing from.
GAP = 1.5


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What became of one latent."""

    latent: Latent
    missing: dict[str, str] = field(default_factory=dict)
    """Sensor -> what the recording lacks of its sample."""
    mean_difference: float = math.nan
    """Largest absolute one; NaN where a sample is missing."""
    variance_difference: float = math.nan
    """Largest relative one."""
    mean: NDArray[np.float32] | None = None
    """Made again; None where a sample is missing."""

    @property
    def complete(self) -> bool:
        """Whether the recording holds all that it lists."""
        return not self.missing

    @property
    def equal(self) -> bool:
        return self.mean_difference <= TOLERANCE and self.variance_difference <= TOLERANCE


class Samples(Protocol):
    """The samples of a recording."""

    def find(self, name: str, stamp_ns: int) -> Any:
        """Return the one with a stamp, of a window its `Readings`; None if it is not there."""

    def why_not(self, name: str, stamp_ns: int) -> str:
        """Return why there is none."""

    def prepared(self, name: str, value: Any) -> NDArray[Any]:
        """Return one that was found, or the window made of its readings, as `prepare` does.

        Raises:
            ConversionError: If it is not what its modality declares.
            SampleError: If it cannot be prepared.
        """


class Reproducer:
    """Makes latents again, one after the other."""

    def __init__(self, runtime: Runtime, rules: Mapping[str, FusionRule], samples: Samples) -> None:
        """Prepare.

        Args:
            runtime: Used by nobody else meanwhile.
            rules: Of the node, for the readings that a window needs.
            samples: Where the samples are.
        """
        self._runtime, self._rules, self._samples = runtime, rules, samples
        self._key: tuple[int, int] | None = None
        self._counts: dict[str, tuple[int, int]] = {}
        self._doubt: dict[str, tuple[int, str]] = {}

    def check(self, latent: Latent) -> Checked:
        """Make a latent again and compare it with what was recorded."""
        subset = tuple(n for n in self._runtime.manifest.names if n in latent.fused)
        held = {n: self._samples.find(n, latent.stamps_ns[n]) for n in subset}
        missing = {n: why for n, value in held.items() if (why := self._take(latent, n, value))}
        if latent.memory_s:
            self._note_losses(latent, held)
            return self._remembered(latent, subset, missing)
        if missing:
            return Checked(latent=latent, missing=missing)
        posterior = self._runtime.posterior(subset)
        found = _compare(latent, posterior)
        if not found.equal and (missing := self._lost_reading(latent, subset, held)):
            return Checked(latent=latent, missing=missing)
        return found

    def _remembered(
        self, latent: Latent, subset: tuple[str, ...], missing: dict[str, str]
    ) -> Checked:
        """Make a latent with a memory again, from what it lists and what those before it listed.

        Where the recording does not hold all that counts, e.g. because it began later than the
        epoch, and the latents differ, nothing can be said of it.
        """
        recall, names = self._runtime.recall, self._runtime.manifest.names
        if recall is None:
            return Checked(
                latent=latent, missing=dict.fromkeys(subset, "memory: the bundle has none")
            )
        recall.begin((latent.generation, latent.epoch))
        off = {n for n, state in latent.states.items() if state is FusionState.DISABLED}
        recall.memory.drop(names.index(n) for n in off | latent.doubted)
        for name in (n for n in subset if n not in missing):
            offset_ns = round(self._rules[name].stamp_offset_s * 1e9)
            corrected_ns = latent.stamps_ns[name] - offset_ns
            stamp_ns = latent.stamp_ns if name in latent.held else corrected_ns
            read = self._runtime.reading(name)
            recall.memory.insert(recall.filter.element(names.index(name), stamp_ns, *read))
        further = latent.further_ns.items()
        missing |= {n: why for n, stamps in further if (why := self._add(recall, n, stamps))}
        if missing:
            return Checked(latent=latent, missing=missing)
        fused = [names.index(n) for n in subset]
        made = recall.at(latent.stamp_ns, latent.memory_s, fused, latent.ahead_s)
        found = _compare(latent, Posterior(*made))
        listed = {names[s]: (x.elements, x.folded) for s, x in recall.memory.listed().items()}
        lacking = {
            name: f"memory: {_words(counted)} count, the recording gives {_words(listed.get(name))}"
            for name, counted in latent.counted.items()
            if listed.get(name) != counted
        }
        since_ns = latent.stamp_ns - round(latent.memory_s * 1e9)
        lacking = lacking or {
            n: why for n, (at_ns, why) in self._doubt.items() if at_ns >= since_ns
        }
        return Checked(latent=latent, missing=lacking) if lacking and not found.equal else found

    def _note_losses(self, latent: Latent, held: Mapping[str, Any]) -> None:
        """Doubt what rests on a window once node and recorder differ by readings of it.

        Nobody lists them, and what they made goes on to count: for as long as memory lasts a latent
        that differs says nothing.
        """
        key = (latent.generation, latent.epoch)
        if key != self._key:
            self._key = key
            self._counts.clear()
            self._doubt.clear()
        for name, window in held.items():
            if not isinstance(window, Readings) or name not in latent.received:
                continue
            count = (latent.received[name], window.number)
            before = self._counts.get(name, count)
            self._counts[name] = count
            apart = (count[1] - before[1]) - (count[0] - before[0])
            if apart:
                who = "the node" if apart > 0 else "the recording"
                why = f"readings: {who} lacks {abs(apart)} of those before it"
                self._doubt[name] = latent.stamp_ns, why

    def _add(self, recall: Recall, name: str, stamps_ns: Sequence[int]) -> str:
        """Put samples of no moment into memory; return why one cannot be, or ''.

        What is not in the recording is missing in what memory lists then.
        """
        offset_ns = round(self._rules[name].stamp_offset_s * 1e9)
        found = [(stamp, self._samples.find(name, stamp)) for stamp in stamps_ns]
        there = {stamp: value for stamp, value in found if value is not None}
        try:
            inputs = [self._input(name, value) for value in there.values()]
        except REFUSALS as err:
            return str(err)
        readings = self._runtime.readings({name: inputs}).get(name, [])
        for stamp, reading in zip(there, readings, strict=True):
            recall.add(name, Further(stamp, stamp - offset_ns, None), reading)
        return ""

    def _input(self, name: str, value: Any) -> NDArray[np.float32]:
        prepared = self._prepared(name, value)
        return self._runtime.network_input(name, prepared, prepared=True)

    def _take(self, latent: Latent, name: str, value: Any) -> str:
        """Observe a sample that a latent lists; return why it cannot be, or ''."""
        stamp = latent.stamps_ns[name]
        if value is None:
            return self._samples.why_not(name, stamp)
        try:
            self._observe(name, value, (latent.epoch, stamp))
        except REFUSALS as err:
            return str(err)
        return ""

    def _observe(self, name: str, value: Any, key: tuple[int, int] | None = None) -> None:
        self._runtime.observe(name, self._prepared(name, value), key, prepared=True)

    def _prepared(self, name: str, value: Any) -> NDArray[Any]:
        if isinstance(value, Readings):
            modality = self._runtime.modality(name)
            fewest = self._rules[name].min_samples
            value = modality.family.assemble(modality, value.stamps_ns, value.values, fewest)
        return self._samples.prepared(name, value)

    def _lost_reading(
        self, latent: Latent, subset: tuple[str, ...], held: dict[str, Any]
    ) -> dict[str, str]:
        """Return the window in which node and recorder differ by a reading, which nobody lists.

        Either the node lacked one, which is tried out, or the recorder did, which leaves a gap.
        """
        for name in subset:
            if not isinstance(window := held[name], Readings):
                continue
            gaps = np.diff(window.stamps_ns)
            if gaps.size and gaps.max() > GAP * np.median(gaps):
                return {name: f"readings: none for {gaps.max() * 1e-6:.1f} ms"}
            for row in range(len(window.values) - 1):
                try:
                    self._observe(name, window.without(row))
                except REFUSALS:
                    continue
                if _compare(latent, self._runtime.posterior(subset)).equal:
                    self._runtime.forget(name)
                    return {name: "the node lacked one of its readings; without it, equal"}
            self._observe(name, window)
        return {}


def _words(counted: tuple[int, int] | None) -> str:
    elements, folded = counted or (0, 0)
    return f"{elements} samples and {folded} folded"


def _compare(latent: Latent, posterior: Posterior) -> Checked:
    """Return the differences of a latent of the same size."""
    variance: NDArray[np.float32] = posterior.variance
    with np.errstate(invalid="ignore"):  # infinite variances: not a number, which is not equal
        relative = np.abs(variance - latent.variance) / variance
    mean = np.abs(posterior.mean - latent.mean)
    return Checked(
        latent=latent,
        mean_difference=float(mean.max()),
        variance_difference=float(relative.max()),
        mean=posterior.mean,
    )
