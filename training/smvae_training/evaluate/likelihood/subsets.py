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

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.modality import subset_name
from smvae_core.subsets import evaluated_subsets
from smvae_training.evaluate.likelihood.method import CannotEncode, Method
from smvae_training.evaluate.likelihood.mixture import Mixture, log_standard_normal
from smvae_training.evaluate.likelihood.sampling import (
    SamplingConfig,
    blocks,
    chosen_items,
    count_items,
    decoded_log_likelihood,
    draw,
    effective_samples,
    groups,
)
from smvae_training.evaluate.likelihood.summary import Values, mean_and_error, plain


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
class SubsetLikelihoods:
    """What `subset_likelihoods` measured of one method."""

    method: str
    names: tuple[str, ...]
    index: NDArray[np.int64]
    """(N,) rows of the inputs that were scored."""
    subsets: dict[str, SubsetEstimates]
    """By subset name, e.g. 'force+action', smallest first."""
    refused: dict[str, str]
    """Subsets that the method cannot encode, and why."""
    config: SamplingConfig
    seconds: float

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
        return {
            "method": self.method,
            "items": len(self.index),
            "groups": None if member is None else len(np.unique(member)),
            "settings": asdict(self.config),
            "seconds": self.seconds,
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
    config = config or SubsetConfig()
    started = time.perf_counter()
    index = chosen_items(count_items(method, inputs), config)
    parts: dict[str, list[dict[str, Values]]] = {}
    refused: dict[str, str] = {}
    with torch.inference_mode():
        for items, batch in blocks(method, inputs, index, device):
            for subset in subsets or evaluated_subsets(method.names):
                label = subset_name(subset)
                try:
                    proposal = method.proposal(batch, subset)
                except CannotEncode as error:
                    refused[label] = str(error)
                    continue
                found = _block(method, proposal, subset, batch, items, config)
                parts.setdefault(label, []).append(found)
    return SubsetLikelihoods(
        method=method.name,
        names=method.names,
        index=index,
        subsets={label: _join(found, method.names) for label, found in parts.items()},
        refused=refused,
        config=config,
        seconds=time.perf_counter() - started,
    )


def _block(
    method: Method,
    proposal: Mixture,
    subset: tuple[str, ...],
    batch: Mapping[str, Tensor],
    items: NDArray[np.int64],
    config: SamplingConfig,
) -> dict[str, Values]:
    found: dict[str, list[Tensor]] = {}
    for rows in groups(proposal.items, config):
        some, few = proposal.take(rows), {name: x[rows] for name, x in batch.items()}
        z, log_share = draw(some, items[rows], config)
        each = decoded_log_likelihood(method, z, few, method.names, config.chunk)
        prior_over_q = log_standard_normal(z) - some.log_prob(z) + log_share
        weights = sum((each[name] for name in subset), prior_over_q)
        total = sum(each.values(), log_share)
        values = {
            "predictive": torch.logsumexp(total, 0),
            "evidence": torch.logsumexp(weights, 0),
            "ess": effective_samples(weights),
        }
        for name, log_p in each.items():
            values[f"each/{name}"] = torch.logsumexp(log_p + log_share, 0)
            values[f"expected/{name}"] = (log_share.exp() * log_p).sum(0)
        for key, value in values.items():
            found.setdefault(key, []).append(value)
    return {key: torch.cat(values).cpu().numpy() for key, values in found.items()}


def _join(blocks_found: list[dict[str, Values]], names: Sequence[str]) -> SubsetEstimates:
    arrays = {key: np.concatenate([b[key] for b in blocks_found]) for key in blocks_found[0]}
    return SubsetEstimates(
        predictive=arrays["predictive"],
        each={name: arrays[f"each/{name}"] for name in names},
        expected={name: arrays[f"expected/{name}"] for name in names},
        evidence=arrays["evidence"],
        ess=arrays["ess"],
    )


def _summary(values: SubsetEstimates, member: NDArray[np.integer] | None) -> dict[str, Any]:
    return {
        "predictive": mean_and_error(values.predictive, member),
        "each": {name: mean_and_error(a, member) for name, a in values.each.items()},
        "expected": {name: mean_and_error(a, member) for name, a in values.expected.items()},
        "evidence": mean_and_error(values.evidence, member),
        "ess": {"median": plain(np.median(values.ess)), "min": plain(values.ess.min())},
    }
