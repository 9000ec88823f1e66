"""How well every subset of more than two modalities predicts all of them, for any method alike.

For each subset S, with K samples z_k of q(z given x_S):

    predictive  log 1/K sum_k prod_m p(x_m|z_k), of all modalities together and of each alone
    expected    1/K sum_k log p(x_m|z_k), the ELBO's term, of each modality
    evidence    log p(x_S) = log 1/K sum_k p(x_S|z_k) p(z_k) / q(z_k|x_S), importance sampled

All in nats over all dimensions, noise scales included, no weights. `predictive` and `evidence` of
images of thousands of pixels rest on the best few samples: they are lower bounds that grow with K,
so only equal K compare. Errors of decoded means are in `smvae_training.evaluate`.

K samples, B items of a block, N items, M modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.modality import subset_name
from smvae_core.subsets import evaluated_subsets
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.mixture import Mixture, log_standard_normal
from smvae_training.evaluate.likelihood.sampling import (
    Measurement,
    SamplingConfig,
    decoded_log_likelihood,
    draw,
    effective_samples,
    measure,
)
from smvae_training.evaluate.likelihood.summary import Values, mean_and_error, median_and_least


@dataclass(frozen=True, kw_only=True)
class SubsetConfig(SamplingConfig):
    """Defaults that score 64x64 images on a CPU in minutes: 15 subsets, 150,000 decoded latents."""

    samples: int = 100
    """K per item and subset."""
    items: int | None = 100
    """At most this many items, evenly spaced; None for all."""
    chunk: int = 128
    """Latents decoded at once: 128 suit 64x64 images on a CPU, a GPU wants 10,000."""


@dataclass(frozen=True, kw_only=True)
class SubsetEstimates:
    """Estimates given one subset, (N,) each, in nats."""

    predictive: Values
    """Of all modalities together."""
    each: dict[str, Values]
    """`predictive` of each modality alone."""
    expected: dict[str, Values]
    """E_q log p(x_m given z) of each modality."""
    evidence: Values
    """log p(x_S)."""
    ess: Values
    """Effective samples of K behind `evidence`."""


@dataclass(frozen=True, kw_only=True)
class SubsetLikelihoods(Measurement):
    """What `subset_likelihoods` measured of one method."""

    names: tuple[str, ...]
    subsets: dict[str, SubsetEstimates]
    """By subset name, e.g. 'force+action', smallest first."""

    def mean_predictive(self) -> Values | None:
        """Return the mean over all subsets of `predictive` (N,); None if one was refused."""
        if self.refused:
            return None
        return np.mean([s.predictive for s in self.subsets.values()], axis=0)

    def to_json(self, groups: NDArray[np.integer] | None = None) -> dict[str, Any]:
        """Return means and standard errors.

        Args:
            groups: The trajectory of every row of the inputs, not only of those scored: steps of
                one trajectory are no independent items.
        """
        member = None if groups is None else groups[self.index]
        mean = self.mean_predictive()
        return self.about() | {
            "groups": None if member is None else len(np.unique(member)),
            "mean_predictive": None if mean is None else mean_and_error(mean, member),
            "subsets": {name: _summary(s, member) for name, s in self.subsets.items()}
            | dict.fromkeys(self.refused),
            "refused": self.refused,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the per-item arrays for one .npz, e.g. 'force+action/each/rgb'."""
        found: dict[str, NDArray[Any]] = {"index": self.index}
        for label, s in self.subsets.items():
            for key in ("predictive", "evidence", "ess"):
                found[f"{label}/{key}"] = getattr(s, key)
            for key in ("each", "expected"):
                found |= {f"{label}/{key}/{name}": a for name, a in getattr(s, key).items()}
        return found


def subset_likelihoods(
    method: Method,
    inputs: Mapping[str, Tensor],
    config: SamplingConfig | None = None,
    *,
    subsets: Sequence[tuple[str, ...]] | None = None,
    device: torch.device | str = "cpu",
) -> SubsetLikelihoods:
    """Estimate the three likelihoods of every subset; all subsets share their standard normals.

    Args:
        method: Any number of modalities, on `device`, in evaluation mode.
        inputs: Network inputs (N, *shape) by name, all modalities of every item, on any device.
        config: Samples, items, seed, memory.
        subsets: Which; all 2^M - 1 by default.
        device: Where the method computes.

    Raises:
        ConfigError: If the inputs lack a modality or differ in length.
    """
    config, names = config or SubsetConfig(), method.names

    def score(
        subset: tuple[str, ...], q: Mixture, batch: dict[str, Tensor], items: NDArray[np.int64]
    ) -> dict[str, Tensor]:
        z, log_share = draw(q, items, config)
        each = decoded_log_likelihood(method, z, batch, names, config.chunk)
        prior_over_q = log_standard_normal(z) - q.log_prob(z) + log_share
        weights = sum((each[name] for name in subset), prior_over_q)
        return {
            "predictive": torch.logsumexp(sum(each.values(), log_share), 0),
            "evidence": torch.logsumexp(weights, 0),
            "ess": effective_samples(weights),
            **{f"each/{n}": torch.logsumexp(log_p + log_share, 0) for n, log_p in each.items()},
            **{f"expected/{n}": (log_share.exp() * log_p).sum(0) for n, log_p in each.items()},
        }

    chosen = subsets or evaluated_subsets(names)
    about, found = measure(method, inputs, config, chosen, device, score)
    return SubsetLikelihoods(
        names=names,
        subsets={
            subset_name(s): SubsetEstimates(
                **{key: v[key] for key in ("predictive", "evidence", "ess")},
                each={name: v[f"each/{name}"] for name in names},
                expected={name: v[f"expected/{name}"] for name in names},
            )
            for s, v in found.items()
        },
        **about,
    )


def _summary(values: SubsetEstimates, member: NDArray[np.integer] | None) -> dict[str, Any]:
    return {
        "predictive": mean_and_error(values.predictive, member),
        "each": {name: mean_and_error(a, member) for name, a in values.each.items()},
        "expected": {name: mean_and_error(a, member) for name, a in values.expected.items()},
        "evidence": mean_and_error(values.evidence, member),
        "ess": median_and_least(values.ess),
    }
