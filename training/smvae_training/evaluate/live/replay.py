"""Live equals offline: recorded inputs through `Runtime` give the latents that were published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SampleError
from smvae_core.kinds.window import resample_window
from smvae_core.modality import Modality
from smvae_core.preprocessing import prepare
from smvae_core.runtime import Runtime
from smvae_training.evaluate.live.bag import Latent, LiveRun, Track
from smvae_training.evaluate.measures import windows

#: Largest absolute difference of a latent's mean that counts as equal; means are of order 1.
TOLERANCE = 1e-3
_SPAN_NS = 200_000_000


class NotRecorded(Exception):
    """An input of a latent is not in the bag; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One latent computed again."""

    latent: Latent
    mean: NDArray[np.float32] | None
    """Offline; None when an input is missing."""
    difference: float
    """Largest absolute difference of the means; infinite when an input is missing."""
    cause: str = ""
    """Why it differs; empty within the tolerance."""

    @property
    def equal(self) -> bool:
        return self.difference <= TOLERANCE


class Replay:
    """Computes latents again from a run's recorded inputs."""

    def __init__(self, run: LiveRun, runtime: Runtime) -> None:
        self._run, self._runtime = run, runtime
        self._order = {name: i for i, name in enumerate(runtime.manifest.names)}

    def replay(self, latent: Latent) -> Replayed:
        """Run the modalities that a valid latent fused, as recorded."""
        subset = sorted(latent.fused, key=self._order.__getitem__)
        try:
            for name in subset:
                self._observe(name, latent.stamps_ns[name])
        except NotRecorded as missing:
            return Replayed(latent=latent, mean=None, difference=float("inf"), cause=str(missing))
        mean = self._runtime.posterior(subset).mean
        difference = float(np.abs(mean - latent.mean).max())
        cause = "" if difference <= TOLERANCE else self._why(latent, subset)
        return Replayed(latent=latent, mean=mean, difference=difference, cause=cause)

    def _observe(self, name: str, stamp_ns: int) -> None:
        modality, track = self._runtime.modality(name), self._run.inputs[name]
        sample = self._sample(modality, track, stamp_ns)
        ready = prepare(modality.uncut, sample)  # images are kept in the network's view
        self._runtime.observe(name, ready, key=stamp_ns, prepared=True)

    @staticmethod
    def _sample(modality: Modality, track: Track, stamp_ns: int) -> NDArray[Any]:
        sample = track.at(stamp_ns)
        if sample is None:
            raise NotRecorded(f"the recorder missed the {modality.name} message that was fused")
        if not windows([modality]):
            return sample
        try:
            return window(modality, *_readings(track, stamp_ns), stamp_ns)
        except SampleError as err:
            raise NotRecorded(f"the recorder missed readings: {err}") from err

    def _why(self, latent: Latent, subset: list[str]) -> str:
        """Return the cause of a difference: try whether one lost reading explains it."""
        for name in subset:
            modality = self._runtime.modality(name)
            if not windows([modality]):
                continue
            stamps, values = _readings(self._run.inputs[name], latent.stamps_ns[name])
            for lost in range(max(0, len(stamps) - 40), len(stamps) - 1):
                kept = np.arange(len(stamps)) != lost
                try:
                    sample = window(modality, stamps[kept], values[kept], int(stamps[-1]))
                except SampleError:
                    continue
                self._runtime.observe(name, sample)
                mean = self._runtime.posterior(subset).mean
                if float(np.abs(mean - latent.mean).max()) <= TOLERANCE:
                    self._runtime.forget(name)
                    return f"the node missed one {name} reading (best effort); without it, equal"
            self._runtime.forget(name)
            return f"unexplained; no single lost {name} reading explains it"
        return "unexplained"


def _readings(track: Track, end_ns: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return stamps (N,) and readings (N, C) of the time before `end_ns`, itself included."""
    first = int(np.searchsorted(track.stamps_ns, end_ns - _SPAN_NS))
    last = track.before(end_ns) + 1
    return track.stamps_ns[first:last], track.samples[first:last]


def window(
    modality: Modality, stamps_ns: NDArray[np.int64], readings: NDArray[Any], end_ns: int
) -> NDArray[np.float32]:
    """Return the force window (T, C) that ends at `end_ns`."""
    return resample_window(
        stamps_ns, readings, end_ns, length=modality.shape[1], name=modality.name
    )
