"""The training objective, paper Eq. 2-4: ELBO of a random subset, annealed and weighted.

B batch, M modality.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smvae_core.errors import UnknownModality
from smvae_core.model.bounds import Bound, combine, draw_bound
from smvae_core.model.distributions import Noise
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.model.targets import TargetDecoder


@dataclass(frozen=True)
class ElboTerms:
    """Terms of one batch, all in nats, means over samples."""

    loss: Float[Tensor, ""]
    """To minimise: beta KL - weighted log likelihoods + regulariser."""
    elbo: Float[Tensor, ""]
    """Of the sensors, unweighted, at beta 1."""
    kl: Float[Tensor, ""]
    log_likelihood: dict[str, Float[Tensor, ""]]
    """Per modality, mean over the samples that have it as a target; then per decoded target."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Of each of these, how many samples that is; empty where the objective does not say."""


#: (model, batch, recorded, present, beta, config, generator, observed, targets) -> terms, see
#: `elbo`.
Objective = Callable[..., ElboTerms]


def elbo(
    model: SMVAE,
    batch: Mapping[str, Tensor],
    recorded: Bool[Tensor, "B M"],
    present: Bool[Tensor, "B M"],
    beta: float,
    config: ObjectiveConfig,
    generator: Noise = None,
    observed: Mapping[str, Tensor] | None = None,
    targets: Mapping[str, Tensor] | None = None,
) -> ElboTerms:
    """Return the one-sample estimate of Eq. 3 for the subsets that `present` marks.

    With q_S = q(z|x_S), z_S ~ q_S, X all that was recorded, and lambda_m the weights:

    | target | bound to maximise |
    |---|---|
    | subset | sum over S of lambda_m log p(x_m|z_S) - beta KL(q_S, p), the paper's Eq. 3 |
    | observed | sum over X of lambda_m log p(x_m|z_S) - beta KL(q_S, p) |
    | remaining | S from z_S, the rest of X from z_X, - beta (KL(q_S, p) + KL(q_X, q_S)) |
    | joint | sum over X of lambda_m log p(x_m|z_X) - beta (KL(q_X, p) + matching KL(q_X, q_S)) |

    With `complement`, 'subset' and 'observed' take the mean of S's bound and its complement's. Else
    theirs is the bound of S. With `targets_from_rest` the log likelihood in it of one of the
    model's own targets is the mean of that from z_S and that from the complement's latent.
    With `samples` K > 1 'joint' takes the mean over K latents in antithetic pairs while beta rises.
    At beta 1 it is log 1/K sum_k exp(w_k) - matching KL(q_X, q_S) of K independent ones (Burda et
    al. 2016), q_X = q(z|X) and w_k = weighted log p(X|z_k) + log p(z_k) - log q_X(z_k).
    'remaining' is Hirt et al. 2024. Each decodes a modality at most once per sample of q_X; a
    second bound, that of 'subset' or 'observed', is added to 'joint' on request.

    The model's own targets y count in each bound as further modalities of X that are never in S:
    lambda_y log p(y|z) in the records that tell them, whatever S is (and as
    `TargetDecoder.log_likelihood` says, errors of noisy ones count for more).

    Args:
        model: The model.
        batch: Network inputs (B, *shape) by name.
        recorded: What each record holds; unrecorded slots are never read.
        present: The drawn subset S, within `recorded`, non-empty.
        beta: Annealing coefficient in [0, 1].
        config: Target and weights.
        generator: Random numbers of the latent sample, see `distributions.Noise`.
        observed: What is encoded in place of `batch`, as it might have been measured; `batch` is
            what it is explained by (the denoising bound of Im et al. 2017).
        targets: Of the model's targets (B, K) by name, in their units; a row with a NaN tells
            nothing, and is not read.

    Raises:
        EmptySubset: If a sample has no observed modality.
        UnknownModality: If a weight names none of the modalities and targets.
    """
    seen = batch if observed is None else observed
    bound = draw_bound(model, seen, recorded, present, beta, config, generator)
    return explain(model, bound, batch, present, beta, config, targets)


def explain(
    model: SMVAE,
    bound: Bound,
    batch: Mapping[str, Tensor],
    present: Bool[Tensor, "B M"],
    beta: float,
    config: ObjectiveConfig,
    targets: Mapping[str, Tensor] | None = None,
) -> ElboTerms:
    """Return the terms of a bound whose latents are drawn; arguments as of `elbo`.

    Raises:
        UnknownModality: As in `elbo`.
    """
    for name in config.weights:
        if name not in (known := (*model.names, *model.targets)):
            raise UnknownModality(name, known)
    totals = [torch.zeros_like(bound.kl) for _ in bound.parts]
    unweighted = -bound.kl.detach()
    log_likelihood, told_rows = {}, {}
    for index, name in enumerate(model.names):
        rows = [part.targets[:, index].nonzero().squeeze(1) for part in bound.parts]
        if not sum(map(len, rows)):
            continue
        latents = [part.latent(present[:, index]) for part in bound.parts]
        z = torch.cat([_take(z, r) for z, r in zip(latents, rows, strict=True)])
        x = torch.cat([_take(batch[name], r) for r in rows]).float()
        every = model.log_likelihood(name, x, model.decode(z, [name])[name]).split(
            [*map(len, rows)]
        )
        padded = [_put(values, r, len(present)) for values, r in zip(every, rows, strict=True)]
        if len(rows[0]):
            log_likelihood[name], told_rows[name] = every[0].detach().mean(), len(rows[0])
            unweighted = unweighted + padded[0].detach()
        weight = config.weight(model.config.modalities[index], model.config.modalities)
        totals = [total + weight * values for total, values in zip(totals, padded, strict=True)]
    for name, y in (targets or {}).items():
        told = y.isfinite().all(1).nonzero().squeeze(1)
        if not len(told):
            continue
        decoder = model.targets[name]
        assert isinstance(decoder, TargetDecoder)
        z = torch.cat([_take(part.z, told) for part in bound.parts])
        values = torch.cat([_take(y, told).float()] * len(bound.parts))
        likelihood, learned = decoder.log_likelihood(values, z)
        log_likelihood[name] = likelihood[: len(told)].detach().mean()
        told_rows[name] = len(told)
        weight = config.target_weight(decoder.target, model.config.modalities)
        parts = zip(bound.parts, learned.chunk(len(bound.parts)), strict=True)
        padded = [part.told * _put(values, told, len(present)) for part, values in parts]
        totals = [total + weight * values for total, values in zip(totals, padded, strict=True)]
    objective = combine(bound, totals, beta)
    if config.regulariser:
        every = torch.stack([q.regulariser() for q in bound.posteriors])
        objective = objective - config.regulariser * every.mean(0)
    return ElboTerms(
        loss=-objective.mean(),
        elbo=unweighted.detach().mean(),
        kl=bound.kl.detach().mean(),
        log_likelihood=log_likelihood,
        rows=told_rows,
    )


def _take(x: Tensor, rows: Tensor) -> Tensor:
    return x if len(rows) == len(x) else x[rows]


def _put(values: Tensor, rows: Tensor, count: int) -> Tensor:
    return values if len(rows) == count else values.new_zeros(count).index_copy(0, rows, values)
