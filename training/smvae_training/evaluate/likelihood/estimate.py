"""log p(x,y), log p(x), log p(y) and log p(x given y) of every item, for any method alike.

x is the first modality (an image), y the second (a label or attributes). For each proposal
q(z given x,y) and q(z given x), with K samples z_k shared by joint and marginal:

    log p(x,y) = log 1/K sum_k p(x|z_k) p(y|z_k) p(z_k) / q(z_k)
    log p(x)   = log 1/K sum_k p(x|z_k) p(z_k) / q(z_k)
    log p(x|y) = log p(x,y) - log p(y),   p(y) = mean of p(y|z) over draws of the prior

as in JMVAE (Suzuki et al. 2017) and in the formulas of the paper's section 4.1. Sharing the samples
makes joint <= marginal hold for every item when y is discrete, since p(y|z) <= 1.

log p(y) is made of the same draws of the prior for all items.

K samples or prior draws, B items of a block, N items, U distinct values of y among them, Z latent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.errors import ConfigError
from smvae_core.modality import find, subset_name
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.mixture import Mixture, log_standard_normal
from smvae_training.evaluate.likelihood.sampling import (
    Measurement,
    SamplingConfig,
    decoded_log_likelihood,
    draw,
    effective_samples,
    measure,
    prior_noise,
)
from smvae_training.evaluate.likelihood.summary import (
    Values,
    mean_and_error,
    median_and_least,
    plain,
)
from smvae_training.evaluate.measures import descriptions, is_exclusive

#: Elements of decoder output times items that are held at once.
_ELEMENTS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class PriorEstimate:
    """log p(y) of every item, log of the mean of p(y given z) over draws of the prior."""

    log_p: Values
    """(N,) nats."""
    draws_error: float
    """Standard error of the MEAN of `log_p` that the finite number of draws leaves; all items
    share the draws, so more items do not shrink it."""
    mass: float | None
    """Sum over all classes of p(y), 1 up to rounding; None if y is no label."""


@torch.inference_mode()
def log_prior_predictive(
    method: Method, name: str, x: Tensor, *, draws: int, seed: int, like: Tensor
) -> PriorEstimate:
    """Estimate log p(y) of every item with `draws` samples of N(0, I).

    Equal values of y are computed once. The error is by the delta method: with a_k the mean over
    items of p(y_i given z_k) / p(y_i), the variance of mean log p(y) is Var(a_k) / K.

    Args:
        method: Decodes.
        name: Modality y.
        x: (N, *shape) values of y.
        draws: K.
        seed: Seed of the draws.
        like: Any tensor (..., Z) of the method's latents; gives size, type and device.
    """
    noise = prior_noise(seed, draws, like.shape[-1]).to(like)
    outputs = _decode(method, name, noise)
    values, member = torch.unique(x.flatten(1), dim=0, return_inverse=True)
    values = values.reshape(-1, *x.shape[1:]).to(like)
    shares = torch.bincount(member, minlength=len(values)).double() / len(x)
    log_p, influence = [], torch.zeros(draws, dtype=torch.float64, device=like.device)
    step = max(1, _ELEMENTS // max(1, outputs.numel()))
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        each = method.log_likelihood(name, values[rows], outputs).double()
        mean = torch.logsumexp(each, 0) - math.log(draws)
        influence += torch.exp(each - mean) @ shares[rows].to(like.device)
        log_p.append(mean)
    return PriorEstimate(
        log_p=np.asarray(torch.cat(log_p).cpu()[member.cpu()].numpy(), np.float64),
        draws_error=float(influence.std()) / math.sqrt(draws) if draws > 1 else math.nan,
        mass=_mass(method, name, outputs),
    )


def _decode(method: Method, name: str, z: Tensor, chunk: int = 2000) -> Tensor:
    """Return decoder outputs (K, 1, *shape), ready to be broadcast over items."""
    parts: Sequence[Tensor] = [method.decode(part, [name])[name] for part in z.split(chunk)]
    return torch.cat(list(parts))[:, None]


def _mass(method: Method, name: str, outputs: Tensor) -> float | None:
    modality = find(method.modalities, name)
    if not is_exclusive(modality):
        return None
    classes = torch.eye(modality.shape[0], device=outputs.device, dtype=outputs.dtype)
    each = method.log_likelihood(name, classes, outputs).double()
    return float(each.exp().sum(1).mean())


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
