"""The novelty score of one latent at a time, from what a runtime has observed.

Costs one decoder per observed modality and one run of the set encoder on twice as many subsets, of
which what depends on one sample alone is kept until that modality's next sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.bundle import Manifest
from smvae_core.modality import Modality
from smvae_core.novelty.scale import Values, component, conflict, reconstruction, texture


class Gaussian(Protocol):
    """A posterior: its parameters (Z,)."""

    @property
    def mean(self) -> NDArray[np.float32]: ...

    @property
    def log_var(self) -> NDArray[np.float32]: ...


class Networks(Protocol):
    """What novelty and suspects ask of a runtime."""

    @property
    def manifest(self) -> Manifest: ...

    def modality(self, name: str) -> Modality: ...

    def seen(self, name: str) -> NDArray[np.float32]: ...

    def posteriors(self, subsets: Sequence[Sequence[str]]) -> Sequence[Gaussian]: ...

    def decode(self, name: str, mean: NDArray[np.float32]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, kw_only=True)
class NoveltyReport:
    """A score and where it comes from."""

    score: float
    """-log10 of the share of held-out samples at least as unusual; NaN if not calibrated."""
    surprises: dict[str, float]
    """By component, e.g. 'rgb+force/reconstruction/rgb', on the same scale."""
    nll: dict[str, float]
    """By observed modality with a Gaussian likelihood: mean reconstruction negative log likelihood
    at the posterior's mean [nats per element]."""
    decoded: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """By observed modality: what its decoder gave for the posterior's mean (*shape), normalised, so
    that nobody decodes it again; empty if not calibrated."""

    @property
    def worst(self) -> str:
        """Component with the largest surprise, e.g. 'rgb+force/conflict/rgb'; '' without any."""
        return max(self.surprises, key=self.surprises.__getitem__, default="")


#: Of a bundle that is not calibrated.
UNKNOWN = NoveltyReport(score=math.nan, surprises={}, nll={})


class NoveltyScorer:
    """Keeps what depends on each modality's newest sample alone."""

    def __init__(self) -> None:
        self._seen: dict[str, NDArray[np.float32]] = {}
        self._texture: dict[str, float] = {}
        self._alone: dict[str, Gaussian] = {}

    def report(
        self, networks: Networks, subset: Sequence[str], posterior: Gaussian
    ) -> NoveltyReport:
        """Return the score of the posterior of `subset`, made from the samples that are seen."""
        calibrated = networks.manifest.novelty
        if calibrated is None:
            return UNKNOWN
        ordered = tuple(n for n in networks.manifest.names if n in subset)
        for name in ordered:
            self._notice(name, networks.seen(name))
        decoded = {n: networks.decode(n, posterior.mean) for n in ordered}
        statistics, nll = self._statistics(networks, ordered, posterior.mean, decoded)
        found = calibrated.surprises(ordered, statistics)
        score = float(calibrated.score_of(ordered, found))
        surprises = {key: float(value) for key, value in found.items()}
        return NoveltyReport(score=score, surprises=surprises, nll=nll, decoded=decoded)

    def _notice(self, name: str, x: NDArray[np.float32]) -> None:
        """Forget what was kept of another sample."""
        if self._seen.get(name) is not x:
            self._seen[name] = x
            self._texture.pop(name, None)
            self._alone.pop(name, None)

    def _statistics(
        self,
        networks: Networks,
        subset: tuple[str, ...],
        z: NDArray[np.float32],
        decoded: Mapping[str, NDArray[np.float32]],
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return every statistic of a subset by component, and the modalities' nll.

        `decoded` are the means that belong to the latent z.
        """
        found: dict[str, float] = {}
        nll: dict[str, float] = {}
        for name in subset:
            modality, x = networks.modality(name), self._seen[name]
            error = float(reconstruction(modality, x, decoded[name][None])[0])
            found[component(subset, "reconstruction", name)] = error
            if modality.likelihood == "gaussian":
                scale = networks.manifest.scale(name, z)
                nll[name] = 0.5 * math.exp(error) / scale**2 + math.log(
                    scale * math.sqrt(2 * math.pi)
                )
            energy = self._energy(modality, x)
            if not math.isnan(energy):
                found[component(subset, "texture", name)] = energy
                found[component(subset, "smooth", name)] = -energy
        if len(subset) > 1:
            for name, value in zip(subset, self._conflicts(networks, subset), strict=True):
                found[component(subset, "conflict", name)] = float(value)
        return found, nll

    def _energy(self, modality: Modality, x: NDArray[Any]) -> float:
        if modality.name not in self._texture:
            energy = texture(modality, x)
            self._texture[modality.name] = math.nan if energy is None else float(energy[0])
        return self._texture[modality.name]

    def _conflicts(self, networks: Networks, subset: tuple[str, ...]) -> Values:
        """Return how far each modality by itself is from the others of a subset."""
        new = [name for name in subset if name not in self._alone]
        others = [[n for n in subset if n != name] for name in subset]
        found = networks.posteriors([*others, *([name] for name in new)])
        self._alone |= dict(zip(new, found[len(others) :], strict=True))
        alone, rest = [self._alone[name] for name in subset], found[: len(others)]
        return conflict(*(np.stack(p) for side in (alone, rest) for p in _parameters(side)))


def _parameters(posteriors: Sequence[Gaussian]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    return [p.mean for p in posteriors], [p.log_var for p in posteriors]
