"""The training objective, paper Eq. 2-4: ELBO of a random subset, annealed and weighted.

B batch, M modality.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.modality import Modality
from smvae_core.model.distributions import Posterior
from smvae_core.model.smvae import SMVAE

Target = Literal["observed", "subset", "remaining", "joint"]
SecondBound = Literal["none", "subset", "observed"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Which bound is trained, and its weights."""

    target: Target = "observed"
    """What the drawn subset S has to do with the reconstructions; X is all that was recorded.
    'observed': encode x_S, reconstruct X. 'subset': encode x_S, reconstruct x_S, Eq. 3.
    'remaining': x_S from q(z|x_S), the rest from q(z|X), which q(z|x_S) has to cover (Hirt et al.).
    'joint': X from q(z|X), which q(z|x_S) has to cover; see the next two."""
    matching: float = 0.2
    """Target 'joint': weight of KL(q(z|X) || q(z|x_S)), q(z|X) being fixed in it, so that the joint
    posterior is no worse for the subsets' sake."""
    second_bound: SecondBound = "none"
    """Target 'joint': add the bound of target 'subset' or 'observed', at the price of decoding what
    it reconstructs a second time."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """lambda of Eq. 2 per modality, 1 where not named; training only, never in evaluation."""
    balance: float = 0.0
    """Each weight is multiplied by (D_max / D_m)^balance, D_m being the modality's number of
    elements: 0 leaves the literal Eq. 2, at 1 all modalities weigh the same (as in MultiVae).
    At 0, a 4-d action beside 12,288 pixels is not worth its nats, and no latent carries it."""
    regulariser: float = 0.0
    """Weight of ||mean||^2 + ||sigma - 1||^2 (section 3.2), off by default."""

    def weight(self, modality: Modality, modalities: tuple[Modality, ...]) -> float:
        """Return lambda of Eq. 2 for one modality among those of the model."""
        largest = max(m.size for m in modalities)
        return self.weights.get(modality.name, 1.0) * (largest / modality.size) ** self.balance

    def __post_init__(self) -> None:
        if self.target not in get_args(Target):
            raise ConfigError(f"target must be one of {get_args(Target)}, got '{self.target}'")
        if self.second_bound not in get_args(SecondBound):
            raise ConfigError(
                f"second_bound must be one of {get_args(SecondBound)}, got '{self.second_bound}'"
            )
        if self.second_bound != "none" and self.target != "joint":
            raise ConfigError(f"second_bound belongs to target 'joint', not to '{self.target}'")
        if self.matching < 0:
            raise ConfigError(f"matching must not be negative, got {self.matching}")
        if self.regulariser < 0 or any(w < 0 for w in self.weights.values()):
            raise ConfigError("weights and regulariser must not be negative")
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"balance must lie in [0, 1], got {self.balance}")


@dataclass(frozen=True)
class ElboTerms:
    """Terms of one batch, all in nats, means over samples."""

    loss: Float[Tensor, ""]
    """To minimise: beta KL - weighted log likelihoods + regulariser."""
    elbo: Float[Tensor, ""]
    """Unweighted, at beta 1."""
    kl: Float[Tensor, ""]
    log_likelihood: dict[str, Float[Tensor, ""]]
    """Per modality, mean over the samples that have it as a target."""


#: (model, batch, recorded, present, beta, config, generator) -> terms; see `elbo`.
Objective = Callable[..., ElboTerms]


def elbo(
    model: SMVAE,
    batch: Mapping[str, Tensor],
    recorded: Bool[Tensor, "B M"],
    present: Bool[Tensor, "B M"],
    beta: float,
    config: ObjectiveConfig,
    generator: torch.Generator | None = None,
) -> ElboTerms:
    """Return the one-sample estimate of Eq. 3 for the subsets that `present` marks.

    With q_S = q(z|x_S), z_S ~ q_S, X all that was recorded, and lambda_m the weights:

    | target | bound to maximise |
    |---|---|
    | subset | sum over S of lambda_m log p(x_m|z_S) - beta KL(q_S, p), the paper's Eq. 3 |
    | observed | sum over X of lambda_m log p(x_m|z_S) - beta KL(q_S, p) |
    | remaining | S from z_S, the rest of X from z_X, - beta (KL(q_S, p) + KL(q_X, q_S)) |
    | joint | sum over X of lambda_m log p(x_m|z_X) - beta (KL(q_X, p) + matching KL(q_X, q_S)) |

    'remaining' is Hirt et al. 2024. Each of the four decodes a modality at most once; a second
    bound, that of 'subset' or 'observed', is added to 'joint' on request.

    Args:
        model: The model.
        batch: Network inputs (B, *shape) by name.
        recorded: What each record holds; unrecorded slots are never read.
        present: The drawn subset S, within `recorded`, non-empty.
        beta: Annealing coefficient in [0, 1].
        config: Target and weights.
        generator: Random numbers of the latent sample.

    Raises:
        EmptySubset: If a sample has no observed modality.
        UnknownModality: If a weight names none of the modalities.
    """
    for name in config.weights:
        if name not in model.names:
            raise UnknownModality(name, model.names)
    bound = _bound(model, batch, recorded, present, config, generator)
    objective = -beta * bound.divergence
    unweighted = -bound.kl.detach()
    log_likelihood = {}
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
            log_likelihood[name] = every[0].detach().mean()
            unweighted = unweighted + padded[0].detach()
        weight = config.weight(model.config.modalities[index], model.config.modalities)
        for values in padded:
            objective = objective + weight * values
    if config.regulariser:
        objective = objective - config.regulariser * bound.posterior.regulariser()
    return ElboTerms(
        loss=-objective.mean(),
        elbo=unweighted.detach().mean(),
        kl=bound.kl.detach().mean(),
        log_likelihood=log_likelihood,
    )


def _take(x: Tensor, rows: Tensor) -> Tensor:
    return x if len(rows) == len(x) else x[rows]


def _put(values: Tensor, rows: Tensor, count: int) -> Tensor:
    return values if len(rows) == count else values.new_zeros(count).index_copy(0, rows, values)


@dataclass(frozen=True)
class _Part:
    """Latents, and what is reconstructed from them."""

    targets: Bool[Tensor, "B M"]
    z: Float[Tensor, "B Z"]
    z_rest: Float[Tensor, "B Z"] | None = None
    """Latent of modalities outside the subset, where it is another than `z`."""

    def latent(self, present: Bool[Tensor, " B"]) -> Float[Tensor, "B Z"]:
        """Return the latent that a modality is decoded from, by whether it is in the subset."""
        return self.z if self.z_rest is None else self.z.where(present.unsqueeze(1), self.z_rest)


@dataclass(frozen=True)
class _Bound:
    """Posteriors and latents of one batch."""

    posterior: Posterior
    kl: Float[Tensor, " B"]
    """KL terms of the first part's bound, at beta 1."""
    divergence: Float[Tensor, " B"]
    """What beta anneals: `kl`, matching, and the KL of a second bound."""
    parts: tuple[_Part, ...]
    """The first one is reported."""


def _bound(
    model: SMVAE,
    batch: Mapping[str, Tensor],
    recorded: Bool[Tensor, "B M"],
    present: Bool[Tensor, "B M"],
    config: ObjectiveConfig,
    generator: torch.Generator | None,
) -> _Bound:
    if config.target in ("observed", "subset"):
        subset = model.encode(batch, present)
        targets = present if config.target == "subset" else recorded
        kl = subset.kl()
        return _Bound(subset, kl, kl, (_Part(targets, subset.rsample(generator)),))
    embeddings = model.embed(batch, recorded)
    everything, subset = model.posteriors(embeddings, (recorded, present))
    if config.target == "remaining":
        kl = subset.kl() + everything.kl_to(subset)
        z, z_rest = subset.rsample(generator), everything.rsample(generator)
        return _Bound(subset, kl, kl, (_Part(recorded, z, z_rest),))
    kl = everything.kl()
    divergence = kl + config.matching * everything.detach().kl_to(subset)
    parts = [_Part(recorded, everything.rsample(generator))]
    if config.second_bound != "none":
        divergence = divergence + subset.kl()
        targets = present if config.second_bound == "subset" else recorded
        parts.append(_Part(targets, subset.rsample(generator)))
    return _Bound(everything, kl, divergence, tuple(parts))
