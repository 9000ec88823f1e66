"""log p(x,y), log p(x), log p(y) and log p(x given y) of every item, for any method alike.

x is the first modality (an image), y the second (a label or attributes). For each proposal
q(z given x,y) and q(z given x), with K samples z_k shared by joint and marginal:

    log p(x,y) = log 1/K sum_k p(x|z_k) p(y|z_k) p(z_k) / q(z_k)
    log p(x)   = log 1/K sum_k p(x|z_k) p(z_k) / q(z_k)
    log p(x|y) = log p(x,y) - log p(y),   p(y) = mean of p(y|z) over draws of the prior

as in JMVAE (Suzuki et al. 2017) and in the formulas of the paper's section 4.1. Sharing the samples
makes joint <= marginal hold for every item when y is discrete, since p(y|z) <= 1.

K samples, B items of a block, N items, Z latent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.errors import ConfigError
from smvae_core.modality import subset_name
from smvae_training.evaluate.likelihood.method import CannotEncode, Method
from smvae_training.evaluate.likelihood.mixture import Mixture, log_standard_normal
from smvae_training.evaluate.likelihood.prior import PriorEstimate, log_prior_predictive
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
class EstimateConfig(SamplingConfig):
    """Samples of the proposals (see `SamplingConfig`) and of the prior."""

    prior_samples: int = 5000
    """Draws of the prior for log p(y), as in JMVAE."""


@dataclass(frozen=True, kw_only=True)
class ProposalEstimates:
    """Estimates under one proposal, (N,) each, in nats."""

    joint: Values
    """log p(x,y)."""
    marginal: Values
    """log p(x)."""
    conditional: Values
    """log p(x given y)."""
    ess_joint: Values
    """Effective samples of K behind `joint`."""
    ess_marginal: Values


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """What `estimate` measured of one method; per-item arrays, so that methods compare paired."""

    method: str
    names: tuple[str, str]
    """x and y."""
    discrete: bool
    """Whether y is discrete, so that joint <= marginal must hold."""
    index: NDArray[np.int64]
    """(N,) rows of the inputs that were scored."""
    prior: PriorEstimate
    """log p(y)."""
    proposals: dict[str, ProposalEstimates]
    """By the name of the proposal's subset, e.g. 'image+label' and 'image'."""
    refused: dict[str, str]
    """Proposals that the method does not have, and why."""
    config: EstimateConfig
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return means, standard errors over items and effective sample sizes."""
        return {
            "method": self.method,
            "x": self.names[0],
            "y": self.names[1],
            "items": len(self.index),
            "settings": asdict(self.config),
            "seconds": self.seconds,
            "log_p_y": mean_and_error(self.prior.log_p)
            | {"draws_error": plain(self.prior.draws_error)},
            "proposals": {name: _summary(p) for name, p in self.proposals.items()}
            | dict.fromkeys(self.refused),
            "refused": self.refused,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the per-item arrays for one .npz, named 'index', 'log_p_y', 'image/joint', .."""
        found: dict[str, NDArray[Any]] = {"index": self.index, "log_p_y": self.prior.log_p}
        for name, values in self.proposals.items():
            found |= {f"{name}/{key}": array for key, array in vars(values).items()}
        return found


def estimate(
    method: Method,
    inputs: Mapping[str, Tensor],
    config: EstimateConfig | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Estimates:
    """Estimate the likelihoods of a method of two modalities.

    Args:
        method: Two modalities, on `device`, in evaluation mode.
        inputs: Network inputs (N, *shape) by name, both modalities of every item, on any device.
        config: Samples, items, seed, memory.
        device: Where the method computes.

    Raises:
        ConfigError: If the method has not two modalities or none of the proposals, or the inputs
            lack one or differ in length.
    """
    config = config or EstimateConfig()
    if len(method.names) != 2:
        raise ConfigError(f"two modalities x and y are needed, {method.name} has {method.names}")
    started = time.perf_counter()
    first, second = method.names
    index = chosen_items(count_items(method, inputs), config)
    parts: dict[str, list[dict[str, Values]]] = {}
    refused: dict[str, str] = {}
    like: Tensor | None = None
    with torch.inference_mode():
        for items, batch in blocks(method, inputs, index, device):
            for subset in ((first, second), (first,)):
                label = subset_name(subset)
                try:
                    proposal = method.proposal(batch, subset)
                except CannotEncode as error:
                    refused[label] = str(error)
                    continue
                like = proposal.mean
                parts.setdefault(label, []).append(
                    _importance(method, proposal, batch, items, config)
                )
    if like is None:
        raise ConfigError("; ".join(refused.values()))
    prior = log_prior_predictive(
        method,
        second,
        inputs[second][torch.from_numpy(index)].float(),
        draws=config.prior_samples,
        seed=config.seed,
        like=like,
    )
    return Estimates(
        method=method.name,
        names=(first, second),
        discrete=method.modalities[1].is_discrete,
        index=index,
        prior=prior,
        proposals={label: _join(found, prior.log_p) for label, found in parts.items()},
        refused=refused,
        config=config,
        seconds=time.perf_counter() - started,
    )


def _importance(
    method: Method,
    proposal: Mixture,
    batch: Mapping[str, Tensor],
    items: NDArray[np.int64],
    config: EstimateConfig,
) -> dict[str, Values]:
    """Return log p(x,y), log p(x) and their effective sample sizes for one block of items."""
    first, second = method.names
    found: dict[str, list[Tensor]] = {}
    for rows in groups(proposal.items, config):
        some, few = proposal.take(rows), {name: x[rows] for name, x in batch.items()}
        z, log_share = draw(some, items[rows], config)
        each = decoded_log_likelihood(method, z, few, (first, second), config.chunk)
        marginal = each[first] + log_standard_normal(z) - some.log_prob(z) + log_share
        joint = marginal + each[second]
        for key, weights in (("joint", joint), ("marginal", marginal)):
            found.setdefault(key, []).append(torch.logsumexp(weights, 0))
            found.setdefault(f"ess_{key}", []).append(effective_samples(weights))
    return {key: torch.cat(values).cpu().numpy() for key, values in found.items()}


def _join(blocks_found: list[dict[str, Values]], log_p_y: Values) -> ProposalEstimates:
    arrays = {key: np.concatenate([b[key] for b in blocks_found]) for key in blocks_found[0]}
    return ProposalEstimates(conditional=arrays["joint"] - log_p_y, **arrays)


def _summary(values: ProposalEstimates) -> dict[str, Any]:
    found: dict[str, Any] = {
        key: mean_and_error(getattr(values, key)) for key in ("joint", "marginal", "conditional")
    }
    for key in ("ess_joint", "ess_marginal"):
        array = getattr(values, key)
        found[key] = {"median": plain(np.median(array)), "min": plain(array.min())}
    return found
