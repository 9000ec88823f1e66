"""A thinned set of moments: what every subset predicts there, for the subset table and the sheet.

S subset, Z latent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import Modality, subset_name
from smvae_core.runtime import Runtime
from smvae_core.subsets import evaluated_subsets
from smvae_training.bag_evaluation.replay import Moment
from smvae_training.bag_evaluation.scores import Array, Pair
from smvae_training.evaluate.baselines import mean_and_variance
from smvae_training.evaluate.live.images import as_network
from smvae_training.evaluate.measures import errors, images, squared_error


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
    means: dict[str, Array]
    """Each subset of `truths` -> (Z,)."""


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
        means = self._means(truths)
        self.kept.append(
            Kept(
                number=number,
                stamp_ns=observation.reference_ns,
                fused=observation.subset,
                truths={name: pair[1] for name, pair in truths.items()},
                predicted=dict(predicted),
                means={subset_name(s): mean for s, mean in means.items()},
            )
        )

    def _means(self, truths: Mapping[str, Pair]) -> dict[tuple[str, ...], Array]:
        """Return the posterior mean (Z,) of every subset of what the bag held.

        Subsets whose posterior is not finite are left out: the node would publish ERROR.
        """
        if self._runtime is None:
            return {}
        for name, (raw, _) in truths.items():
            self._runtime.observe(name, raw)
        every = evaluated_subsets(self._runtime.manifest.names)
        held = [s for s in every if set(s) <= set(truths)]
        means = {s: self._runtime.posterior(s).mean for s in held}
        return {s: mean for s, mean in means.items() if np.isfinite(mean).all()}


def subset_table(
    moments: Sequence[Kept],
    runtime: Runtime,
    advance: Callable[[int], None] = lambda amount: None,
) -> dict[str, dict[str, Any]]:
    """Return subset -> modality -> scores over the moments at which the bag held the subset.

    Images have `squared_error`, `ratio` (to the mean image of the same moments, the best constant)
    and psnr_db or mae_m; others have their root mean squares. `moments` counts.
    """
    references = {m.name: _mean_image(m, moments) for m in images(runtime.modalities)}
    found: dict[str, dict[str, Any]] = {}
    for subset in evaluated_subsets(runtime.manifest.names):
        name = subset_name(subset)
        rows = [k for k in moments if name in k.means]
        found[name] = {}
        for modality in runtime.modalities:
            scored = [k for k in rows if modality.name in k.truths]
            found[name][modality.name] = _scores(
                modality, scored, name, runtime, references.get(modality.name)
            )
        advance(1)
    return found


def _scores(
    modality: Modality, rows: Sequence[Kept], subset: str, runtime: Runtime, mean: Array | None
) -> dict[str, Any]:
    """Return the scores of one subset and one target over some moments."""
    if not rows:
        return {"moments": 0}
    truth = np.concatenate([k.truths[modality.name] for k in rows])
    drawn = [runtime.reconstruct(modality.name, k.means[subset]) for k in rows]
    predicted = np.concatenate([as_network(modality, image) for image in drawn])
    scores: dict[str, Any] = {"moments": len(rows)} | errors(modality, truth, predicted)
    if mean is not None:
        ours = squared_error(modality, truth, predicted)[0]
        constant = squared_error(modality, truth, mean)[0]
        scores["squared_error"] = _mean(ours)
        scores["ratio"] = _mean(ours) / max(_mean(constant), 1e-12)
    return scores


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def _mean_image(modality: Modality, moments: Sequence[Kept]) -> Array | None:
    """Return the mean (1, *shape) over moments; of depth over the pixels with a return."""
    images = [k.truths[modality.name] for k in moments if modality.name in k.truths]
    if not images:
        return None
    return mean_and_variance(modality, images)[0][None].astype(np.float32)
