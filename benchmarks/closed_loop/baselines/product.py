"""MVAE (Wu & Goodman 2018) with our networks, and targets decoded from its latent as from ours.

B batch, M modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from smvae_core.model.bounds import Bound, Part
from smvae_core.model.config import ModelConfig
from smvae_core.model.objective import ElboTerms, explain
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE

#: Log precisions stay within +-8 while beta is near 0, see `ModelConfig.log_precision_limit`.
LOG_PRECISION_LIMIT = 8.0


def of_product(config: ModelConfig) -> ModelConfig:
    """Return the settings of a model whose posterior is a product of experts."""
    return replace(config, pooling="evidence", log_precision_limit=LOG_PRECISION_LIMIT)


def product_of_experts(config: ModelConfig) -> SMVAE:
    """Return a model whose posterior is the product of one expert per sensor and the prior.

    `Evidence` with exponents of 1 and no correction of the mean, both of which are where training
    begins and are held there. So its weights load, and export, as those of any of our models.
    """
    model = SMVAE(config)
    encoder = model.set_encoder
    assert encoder.evidence is not None, "settings of `of_product`"
    encoder.evidence.log_exponent.requires_grad_(False)
    encoder.pool.requires_grad_(False)
    encoder.head.requires_grad_(False)
    return model


def mvae(
    model: SMVAE,
    batch: Mapping[str, Tensor],
    recorded: Bool[Tensor, "B M"],
    present: Bool[Tensor, "B M"],
    beta: float,
    config: ObjectiveConfig,
    generator: torch.Generator | None = None,
    observed: Mapping[str, Tensor] | None = None,
    targets: Mapping[str, Tensor] | None = None,
) -> ElboTerms:
    """Return the loss of one batch, in the form of `smvae_core.model.objective.elbo`.

    Minus the sum, over S = all sensors, each one alone, and one random subset, of

        sum over m in S of lambda_m log p(x_m|z_S) + sum over targets of lambda_y log p(y|z_S)
        - beta KL(q(z|x_S), p(z))

    which is the paper's sub-sampling with k = 1. Arguments as those of `elbo`; the records are
    complete.
    """
    names = range(len(model.names))
    alone = [torch.zeros_like(recorded).index_fill(1, torch.tensor(m), True) for m in names]
    sets = [recorded, *(recorded & each for each in alone), present]
    posteriors = model.posteriors(model.embed(observed or batch, recorded), sets)
    kls = [q.kl() for q in posteriors]
    parts = tuple(Part(s, q.rsample(generator)) for s, q in zip(sets, posteriors, strict=True))
    bound = Bound(tuple(posteriors), kls[0], torch.stack(kls).sum(0), parts)
    return explain(model, bound, batch, present, beta, config, targets)
