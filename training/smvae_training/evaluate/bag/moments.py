"""A thinned set of moments: what every subset predicts there, for the subset table and the sheet.

N moments, S subset, Z latent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smvae_core.modality import Modality, subset_name
from smvae_core.runtime import Posterior, Runtime
from smvae_core.subsets import evaluated_subsets
from smvae_training.evaluate.bag.replay import Moment
from smvae_training.evaluate.bag.scores import Array, Pair
from smvae_training.evaluate.baselines import mean_and_variance
from smvae_training.evaluate.live.images import as_network
from smvae_training.evaluate.measures import errors, finite_mean, images, squared_error
from smvae_training.evaluate.sensor_value import CONSTANT, SensorValue, sensor_errors

#: A bag is cut into so many stretches, over which standard errors are.
STRETCHES = 10


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One moment that is looked at closely."""

    number: int
    """Of the latent."""
    stamp_ns: int
    fused: tuple[str, ...]
    truths: dict[str, Array]
    """Modality -> (1, *shape)."""
    predicted: dict[str, Array]
    """By the latent itself."""
    posteriors: dict[str, Posterior]
    """Of each subset of `truths`."""

    def holds(self, label: str, name: str) -> bool:
        """Return whether there are a subset's posterior and a modality's truth."""
        return label in self.posteriors and name in self.truths


class Moments:
    """Every k-th latent, k doubling whenever there are too many, so that memory stays bounded."""

    def __init__(self, limit: int, runtime: Runtime | None) -> None:
        """Start empty.

        Args:
            limit: Keep at most so many.
            runtime: Embeds for the subsets, apart from the one that makes the latents; None where
                no subset is asked for.
        """
        self._limit, self._runtime = limit, runtime
        self.every = 1
        self._seen = 0
        self.kept: list[Kept] = []

    def add(
        self, moment: Moment, truths: Mapping[str, Pair], predicted: Mapping[str, Array]
    ) -> None:
        """Keep a latent's moment if it is its turn."""
        number, self._seen = self._seen, self._seen + 1
        if number % self.every:
            return
        if len(self.kept) >= self._limit:
            self.every *= 2
            self.kept = [k for k in self.kept if k.number % self.every == 0]
            if number % self.every:
                return
        observation = moment.perceived.observation
        posteriors = self._posteriors(truths)
        self.kept.append(
            Kept(
                number=number,
                stamp_ns=observation.reference_ns,
                fused=observation.subset,
                truths={name: pair[1] for name, pair in truths.items()},
                predicted=dict(predicted),
                posteriors={subset_name(s): found for s, found in posteriors.items()},
            )
        )

    def value(self) -> SensorValue:
        """Return what gathers the worth of the sensors that at least half of the moments hold.

        The groups that its standard errors are over are stretches of the bag.
        """
        count = len(self.kept)
        held = Counter(name for kept in self.kept for name in kept.truths)
        assert self._runtime is not None
        names = tuple(n for n in self._runtime.manifest.names if 2 * held[n] >= count)
        return SensorValue(names, (np.arange(count) * STRETCHES // count).astype(np.int32))

    def _posteriors(self, truths: Mapping[str, Pair]) -> dict[tuple[str, ...], Posterior]:
        """Return the posterior of every subset of what the bag held.

        Subsets whose posterior is not finite are left out: the node would publish ERROR.
        """
        if self._runtime is None:
            return {}
        for name, (raw, _) in truths.items():
            self._runtime.observe(name, raw)
        every = evaluated_subsets(self._runtime.manifest.names)
        held = [s for s in every if set(s) <= set(truths)]
        found = {s: self._runtime.posterior(s) for s in held}
        return {s: p for s, p in found.items() if np.isfinite(p.mean).all()}


def subset_table(
    moments: Sequence[Kept],
    runtime: Runtime,
    value: SensorValue,
    advance: Callable[[int], None] = lambda amount: None,
) -> dict[str, dict[str, Any]]:
    """Return subset -> modality -> scores over the moments at which the bag held the subset.

    Images have `squared_error`, `ratio` (to the mean image of the same moments, the best constant)
    and psnr_db or mae_m; others have their root mean squares. `moments` counts. `value` gets the
    errors moment by moment.
    """
    modalities = runtime.modalities
    truths = {m.name: _stacked(m, [k.truths.get(m.name) for k in moments]) for m in modalities}
    constants = {m.name: mean_sample(m, moments) for m in modalities}
    found: dict[str, dict[str, Any]] = {}
    for subset in evaluated_subsets(runtime.manifest.names):
        label = subset_name(subset)
        found[label] = {}
        for modality in modalities:
            truth, drawn = truths[modality.name], _drawn(modality, moments, label, runtime)
            value.add(label, modality.name, sensor_errors(modality, truth, drawn))
            rows = np.array([k.holds(label, modality.name) for k in moments])
            scores = _scores(modality, truth[rows], drawn[rows], constants[modality.name])
            found[label][modality.name] = scores
        value.add_unsure(label, _log_vars(moments, label, runtime.manifest.latent_dim))
        advance(1)
    for m in modalities:
        value.add(CONSTANT, m.name, sensor_errors(m, truths[m.name], constants[m.name]))
    return found


def _stacked(modality: Modality, samples: Sequence[Array | None]) -> Array:
    """Return samples (1, *shape) as (N, *shape), NaN where there is none."""
    nothing = np.full((1, *modality.shape), np.nan, np.float32)
    return np.concatenate([nothing if sample is None else sample for sample in samples])


def _drawn(modality: Modality, moments: Sequence[Kept], label: str, runtime: Runtime) -> Array:
    """Return what a subset predicts (N, *shape) at the moments that hold it and the modality."""

    def draw(kept: Kept) -> Array | None:
        if not kept.holds(label, modality.name):
            return None
        mean = kept.posteriors[label].mean
        return as_network(modality.uncut, runtime.reconstruct(modality.name, mean))

    return _stacked(modality, [draw(kept) for kept in moments])


def _log_vars(moments: Sequence[Kept], label: str, latent_dim: int) -> Array:
    """Return a subset's log variances (N, Z), NaN where the moment does not hold it."""
    nothing = np.full(latent_dim, np.nan, np.float32)
    held = [k.posteriors[label].log_var if label in k.posteriors else nothing for k in moments]
    return np.stack(held)


def _scores(modality: Modality, truth: Array, predicted: Array, constant: Array) -> dict[str, Any]:
    """Return the scores of one subset and one target over some moments."""
    scores: dict[str, Any] = {"moments": len(truth)}
    if not len(truth):
        return scores
    scores |= errors(modality, truth, predicted)
    if images([modality]):
        ours = squared_error(modality, truth, predicted)[0]
        best = squared_error(modality, truth, constant)[0]
        scores["squared_error"] = finite_mean(ours)
        scores["ratio"] = finite_mean(ours) / max(finite_mean(best), 1e-12)
    return scores


def mean_sample(modality: Modality, moments: Sequence[Kept]) -> Array:
    """Return the mean (1, *shape) over moments; of depth over the pixels with a return."""
    held = [k.truths[modality.name] for k in moments if modality.name in k.truths]
    return mean_and_variance(modality, held)[0][None].astype(np.float32)
