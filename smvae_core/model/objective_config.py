"""Which bound is trained, and its weights; see `smvae_core/model/objective.py` for the formulas."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.target import DecodedTarget

Target = Literal["observed", "subset", "remaining", "joint"]
SecondBound = Literal["none", "subset", "observed"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Which bound is trained, and its weights."""

    target: Target = "observed"
    """What the drawn subset S has to do with the reconstructions; X is all that was recorded.
    'observed': encode x_S, reconstruct X. 'subset': encode x_S, reconstruct x_S, Eq. 3.
    'remaining': x_S from q(z|x_S), the rest from q(z|X), which q(z|x_S) has to cover (Hirt et al.).
    'joint': X from q(z|X), which q(z|x_S) has to cover; see `matching`, `samples`."""
    complement: bool = False
    """Targets 'observed' and 'subset': a step trains a drawn S and the rest of X too; S twice where
    it is all of X. Every modality is embedded once, and drawing subsets adds less noise;
    everything is decoded twice. Each subset is drawn as often as without."""
    targets_from_rest: bool = True
    """Targets 'observed' and 'subset' with `--data.targets`: what is never observed is decoded from
    a drawn S and from the rest of X too, half of its weight each, and all else from S alone. So a
    label teaches the networks of every sensor; a step takes about a sixth longer. With `complement`
    all is decoded from both anyway."""
    matching: float = 0.2
    """Target 'joint': weight of KL(q(z|X) || q(z|x_S)). q(z|X) is fixed in it, so the subsets do
    not make the joint posterior worse."""
    samples: int = 1
    """Target 'joint': latent samples of q(z|X); everything is decoded that many times. Above 1 they
    are antithetic pairs while beta rises, which is less noisy. From beta 1 on the bound is the
    importance-weighted one of Burda et al. 2016, which is tighter."""
    second_bound: SecondBound = "none"
    """Target 'joint': add the bound of target 'subset' or 'observed'. It costs decoding what that
    reconstructs once more."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """lambda of Eq. 2 per modality, 1 where not named; training only, never in evaluation."""
    balance: float = 0.0
    """Each weight is multiplied by (D_max / D_m)^balance, where D_m is the modality's number of
    elements. 0 is the literal Eq. 2; at 1 all modalities weigh the same, as in MultiVae. At 0 the
    latent ignores an action of 4 numbers beside 12,288 pixels."""
    regulariser: float = 0.0
    """Weight of ||mean||^2 + ||sigma - 1||^2 (section 3.2), off by default."""

    def weight(self, modality: Modality, modalities: tuple[Modality, ...]) -> float:
        """Return lambda of Eq. 2 for one modality among those of the model."""
        largest = max(m.size for m in modalities)
        return self.weights.get(modality.name, 1.0) * (largest / modality.size) ** self.balance

    def target_weight(self, target: DecodedTarget, modalities: tuple[Modality, ...]) -> float:
        """Return the weight of a target: as a whole it counts like the largest sensor.

        D_max / K, whatever `balance` is: with less, its gradient is lost in that of the images.
        """
        largest = max(m.size for m in modalities)
        return self.weights.get(target.name, 1.0) * largest / target.size

    def __post_init__(self) -> None:
        if self.target not in get_args(Target):
            raise ConfigError(
                f"--objective.target must be one of {get_args(Target)}, got '{self.target}'"
            )
        if self.second_bound not in get_args(SecondBound):
            raise ConfigError(
                f"--objective.second-bound must be one of {get_args(SecondBound)}, "
                f"got '{self.second_bound}'"
            )
        if self.second_bound != "none" and self.target != "joint":
            raise ConfigError(
                f"--objective.second-bound belongs to target 'joint', not to '{self.target}'"
            )
        if self.complement and self.target not in ("observed", "subset"):
            raise ConfigError(
                "--objective.complement belongs to targets 'observed' and 'subset', not to "
                f"'{self.target}': add --objective.no-complement"
            )
        if self.samples < 1 or (self.samples > 1 and self.target != "joint"):
            raise ConfigError(
                "--objective.samples must be 1, or above it with target 'joint': got "
                f"{self.samples} with '{self.target}'"
            )
        if not 0 <= self.matching < math.inf:
            raise ConfigError(f"--objective.matching must not be negative, got {self.matching}")
        if not all(0 <= w < math.inf for w in self.weights.values()):
            raise ConfigError(
                f"--objective.weights must be 0 or more, and finite, got {self.weights}"
            )
        if not 0 <= self.regulariser < math.inf:
            raise ConfigError(
                f"--objective.regulariser must be 0 or more, and finite, got {self.regulariser}"
            )
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"--objective.balance must lie in [0, 1], got {self.balance}")
