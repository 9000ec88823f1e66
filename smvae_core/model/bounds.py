"""Posteriors and latents behind each training target, and the bound that they make.

B batch, M modality, Z latent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smvae_core.model.distributions import Noise, Posterior
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE


@dataclass(frozen=True)
class Part:
    """Latents, and what is reconstructed from them."""

    targets: Bool[Tensor, "B M"]
    z: Float[Tensor, "B Z"]
    z_rest: Float[Tensor, "B Z"] | None = None
    """Latent of modalities outside the subset, where it is another than `z`."""
    log_ratio: Float[Tensor, " B"] | None = None
    """log p(z) - log q(z) of an importance-weighted sample, which takes the place of `kl`. The
    parameters of q are fixed in it: its gradient goes through z alone, see `combine`."""
    told: float = 1.0
    """Weight of the likelihoods of what is never observed, see `objective.explain`."""

    def latent(self, present: Bool[Tensor, " B"]) -> Float[Tensor, "B Z"]:
        """Return the latent that a modality is decoded from, by whether it is in the subset."""
        return self.z if self.z_rest is None else self.z.where(present.unsqueeze(1), self.z_rest)


@dataclass(frozen=True)
class Bound:
    """Posteriors and latents of one batch."""

    posteriors: tuple[Posterior, ...]
    """Of the model's own bound, of equal standing."""
    kl: Float[Tensor, " B"]
    """KL terms of the first part's bound, at beta 1."""
    divergence: Float[Tensor, " B"]
    """What beta anneals: `kl`, matching, and the KL of a second bound."""
    parts: tuple[Part, ...]
    """The first one is reported."""
    draws: int = 1
    """So many of the parts, the first ones, are of equal standing: their mean counts."""


def draw_bound(
    model: SMVAE,
    batch: Mapping[str, Tensor],
    recorded: Bool[Tensor, "B M"],
    present: Bool[Tensor, "B M"],
    beta: float,
    config: ObjectiveConfig,
    generator: Noise,
) -> Bound:
    """Encode what the target asks for and draw its latents; see `objective.elbo`."""
    if config.target in ("observed", "subset"):
        rest = config.targets_from_rest and not config.complement and len(model.targets) > 0
        both = config.complement or rest
        sets = (present, complement(recorded, present)) if both else (present,)
        found = model.posteriors(model.embed(batch, reduce(torch.logical_or, sets)), sets)
        if rest:
            return _with_rest(
                found, recorded if config.target == "observed" else present, generator
            )
        kls = torch.stack([q.kl() for q in found])
        targets = sets if config.target == "subset" else [recorded] * len(sets)
        pairs = zip(targets, found, strict=True)
        parts = tuple(Part(t, q.rsample(generator)) for t, q in pairs)
        return Bound(tuple(found), kls[0], kls.mean(0), parts, len(parts))
    embeddings = model.embed(batch, recorded)
    everything, subset = model.posteriors(embeddings, (recorded, present))
    if config.target == "remaining":
        kl = subset.kl() + everything.kl_to(subset)
        z, z_rest = subset.rsample(generator), everything.rsample(generator)
        return Bound((subset,), kl, kl, (Part(recorded, z, z_rest),))
    kl = everything.kl()
    divergence = kl + config.matching * everything.detach().kl_to(subset)
    weighted = config.samples > 1 and beta == 1.0
    draw, fixed = everything.rsamples if weighted else everything.antithetic, everything.detach()
    draws = draw(config.samples, generator)
    drawn = [Part(recorded, z, log_ratio=fixed.log_ratio(z) if weighted else None) for z in draws]
    if config.second_bound != "none":
        divergence = divergence + subset.kl()
        second = present if config.second_bound == "subset" else recorded
        drawn.append(Part(second, subset.rsample(generator)))
    return Bound((everything,), kl, divergence, tuple(drawn), len(draws))


def _with_rest(found: Sequence[Posterior], targets: Bool[Tensor, "B M"], generator: Noise) -> Bound:
    """Return the bound of a subset, beside which its complement tells what is never observed."""
    kl = found[0].kl()
    own = Part(targets, found[0].rsample(generator), told=0.5)
    rest = Part(torch.zeros_like(targets), found[1].rsample(generator), told=0.5)
    return Bound((found[0],), kl, kl, (own, rest))


def complement(recorded: Bool[Tensor, "B M"], present: Bool[Tensor, "B M"]) -> Bool[Tensor, "B M"]:
    """Return what was recorded and is not in the subset; the subset itself where that is nothing.

    Of a subset that is uniform over all, the complement is uniform over all as well.
    """
    rest = recorded & ~present
    return torch.where(rest.any(1, keepdim=True), rest, present)


def combine(bound: Bound, totals: list[Tensor], beta: float) -> Float[Tensor, " B"]:
    """Return the bound of every sample from the weighted log likelihoods of its parts.

    Importance-weighted samples take the doubly reparameterised gradient (Tucker et al. 2019): with
    v_k = exp(w_k) / sum_j exp(w_j), the gradient of log q's own parameters, which is all noise once
    q is right, turns into a factor v_k of each sample's path,

        sum_k v_k^2 dw_k/dz_k dz_k/dphi

    A hook on z_k multiplies; decoders get the gradient as it is.
    """
    own, others = totals[: bound.draws], totals[bound.draws :]
    ratios = [part.log_ratio for part in bound.parts if part.log_ratio is not None]
    if not ratios:
        return sum(others, sum(own) / len(own) - beta * bound.divergence)
    weights = torch.stack([t + r for t, r in zip(own, ratios, strict=True)])
    shares = torch.softmax(weights.detach(), 0)
    for part, share in zip(bound.parts, shares, strict=False):
        if part.z.requires_grad:
            part.z.register_hook(partial(torch.mul, share.unsqueeze(1)))
    joint = torch.logsumexp(weights, 0) - math.log(len(weights))
    return sum(others, joint - beta * (bound.divergence - bound.kl))
