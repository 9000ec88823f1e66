"""The training objective, paper Eq. 2-4: ELBO of a random subset, annealed and weighted.

B batch, M modality.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.modality import Modality
from smvae_core.model.smvae import SMVAE

Target = Literal["observed", "subset"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Which bound is trained, and its weights."""

    target: Target = "observed"
    """'observed': encode x_S, reconstruct all that was recorded; 'subset': only x_S, Eq. 3."""
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
        if self.target not in ("observed", "subset"):
            raise ConfigError(f"target must be 'observed' or 'subset', got '{self.target}'")
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

    L_s = -beta KL(q(z|x_S) || p(z)) + sum over targets of lambda_m log p(x_m|z)

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
    posterior = model.encode(batch, present)
    z = posterior.rsample(generator)
    kl = posterior.kl()
    targets = recorded if config.target == "observed" else present
    objective = -beta * kl
    unweighted = -kl
    log_likelihood = {}
    for index, name in enumerate(model.names):
        rows = targets[:, index].nonzero().squeeze(1)
        if len(rows) == 0:
            continue
        everyone = len(rows) == len(z)
        output = model.decode(z if everyone else z[rows], [name])[name]
        x = batch[name] if everyone else batch[name][rows]
        values = model.log_likelihood(name, x.float(), output)
        log_likelihood[name] = values.detach().mean()
        padded = values if everyone else z.new_zeros(len(z)).index_copy(0, rows, values)
        weight = config.weight(model.config.modalities[index], model.config.modalities)
        objective = objective + weight * padded
        unweighted = unweighted + padded.detach()
    if config.regulariser:
        objective = objective - config.regulariser * posterior.regulariser()
    return ElboTerms(
        loss=-objective.mean(),
        elbo=unweighted.detach().mean(),
        kl=kl.detach().mean(),
        log_likelihood=log_likelihood,
    )
