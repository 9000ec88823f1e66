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
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.errors import ConfigError
from smvae_core.modality import subset_name
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.mixture import Mixture, log_standard_normal
from smvae_training.evaluate.likelihood.prior import PriorEstimate, log_prior_predictive
from smvae_training.evaluate.likelihood.sampling import (
    Measurement,
    SamplingConfig,
    decoded_log_likelihood,
    draw,
    effective_samples,
    measure,
)
from smvae_training.evaluate.likelihood.summary import (
    Values,
    mean_and_error,
    median_and_least,
    plain,
)
from smvae_training.evaluate.measures import descriptions

#: What is estimated under each proposal: log p(x,y), log p(x), log p(x given y).
QUANTITIES = ("joint", "marginal", "conditional")


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
class Estimates(Measurement):
    """What `estimate` measured of one method; per-item arrays, so that methods compare paired."""

    names: tuple[str, str]
    """x and y."""
    discrete: bool
    """Whether y is discrete, so that joint <= marginal must hold."""
    prior: PriorEstimate
    """log p(y)."""
    proposals: dict[str, ProposalEstimates]
    """By the name of the proposal's subset, e.g. 'image+label' and 'image'."""

    def to_json(self) -> dict[str, Any]:
        """Return means, standard errors over items and effective sample sizes."""
        return self.about() | {
            "x": self.names[0],
            "y": self.names[1],
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
    like: list[Tensor] = []

    def score(
        _: tuple[str, ...], q: Mixture, batch: dict[str, Tensor], items: NDArray[np.int64]
    ) -> dict[str, Tensor]:
        like[:] = [q.mean]
        z, log_share = draw(q, items, config)
        each = decoded_log_likelihood(method, z, batch, (first, second), config.chunk)
        marginal = each[first] + log_standard_normal(z) - q.log_prob(z) + log_share
        found = {}
        for key, weights in (("joint", marginal + each[second]), ("marginal", marginal)):
            found[key] = torch.logsumexp(weights, 0)
            found[f"ess_{key}"] = effective_samples(weights)
        return found

    about, found = measure(method, inputs, config, [(first, second), (first,)], device, score)
    if not like:
        raise ConfigError("; ".join(about["refused"].values()))
    prior = log_prior_predictive(
        method,
        second,
        inputs[second][torch.from_numpy(about["index"])].float(),
        draws=config.prior_samples,
        seed=config.seed,
        like=like[0],
    )
    return Estimates(
        names=(first, second),
        discrete=bool(descriptions(method.modalities[1:])),
        prior=prior,
        proposals={
            subset_name(s): ProposalEstimates(conditional=v["joint"] - prior.log_p, **v)
            for s, v in found.items()
        },
        **about | {"seconds": time.perf_counter() - started},
    )


def _summary(values: ProposalEstimates) -> dict[str, Any]:
    likelihoods = {k: mean_and_error(getattr(values, k)) for k in QUANTITIES}
    sizes = {k: median_and_least(getattr(values, k)) for k in ("ess_joint", "ess_marginal")}
    return likelihoods | sizes
