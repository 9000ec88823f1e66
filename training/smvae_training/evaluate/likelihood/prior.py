"""log p(y) of one modality from draws of the prior, the same draws for all items.

K prior draws, N items, U distinct values of y among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from smvae_core.modality import find
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.sampling import prior_noise
from smvae_training.evaluate.likelihood.summary import Values
from smvae_training.evaluate.measures import is_exclusive

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
