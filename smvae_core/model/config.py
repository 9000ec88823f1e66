"""What a model is made of; with its weights, all that is needed to rebuild it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from smvae_core.errors import ConfigError, option
from smvae_core.modality import Modality
from smvae_core.presets import VISION_TOUCH
from smvae_core.target import DecodedTarget

Pooling = Literal[
    "paper",
    "sum",
    "count",
    "self_attention",
    "queries",
    "hirt",
    "evidence",
    "evidence_attention",
]
ImageNetwork = Literal["conv", "mlp"]
Covariance = Literal["diagonal", "full"]


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """What a latent remembers of the samples before its reference time; see `model/memory/`."""

    horizon_s: float = 5.0
    """Older samples count in no context of training, nor one by one on a robot."""
    hold_s: float = 0.5
    """A sample says what goes on until the next of its sensor, and so long at most."""
    width: int = 16
    """W, what is summed over time of each sensor."""
    time_constants_s: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    """tau, of the fading averages of each sensor."""
    bend: int = 64
    """Rank of what bends the way from an old sample to now by what is believed; 0 = straight, as
    of models from before there was one."""

    def __post_init__(self) -> None:
        for field in ("horizon_s", "hold_s"):
            if not 0 < getattr(self, field) < math.inf:
                raise ConfigError(
                    f"memory.{field} must be a positive number, got {getattr(self, field)}"
                )
        for field, least in (("width", 1), ("bend", 0)):
            if getattr(self, field) < least:
                raise ConfigError(
                    f"memory.{field} must be at least {least}, got {getattr(self, field)}"
                )
        if not self.time_constants_s or not all(0 < t < math.inf for t in self.time_constants_s):
            raise ConfigError(
                "memory.time_constants_s must be one or more positive numbers, got "
                f"{self.time_constants_s}"
            )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MemoryConfig:
        constants = tuple(data["time_constants_s"])
        return cls(**{"bend": 0, **data, "time_constants_s": constants})


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture, by default the paper's robot model (Tables 2, 8, 9)."""

    modalities: tuple[Modality, ...] = VISION_TOUCH
    """Sensor channels, declared in `smvae_core/presets.py`."""
    latent_dim: int = 64
    """Z, size of the latent."""
    embedding_dim: int = 512
    """D, size of every modality's embedding and of the set feature."""
    pooling: Pooling = "paper"
    """How the set encoder pools the observed embeddings, see `smvae_core/model/set_encoder.py`."""
    log_precision_limit: float = 0.0
    """Pooling by evidence: every log precision stays between this and its negative; 0 = no limit.
    Without a limit precisions may run away while beta is near 0."""
    log_var_limit: float = 0.0
    """Other poolings: every log variance of a posterior stays below this, softly; 0 = no limit.
    Without a limit one strange record may draw a latent of a million deviations in training."""
    covariance: Covariance = "diagonal"
    """Covariance of the posterior: 'diagonal' as in the paper, or 'full'. The entropy, and what
    `pooling` promises of it, is the same. A bundle gives each dimension's variance either way."""
    num_heads: int = 4
    """h of Table 2, not stated in the paper; 4 as in Set Transformer's examples."""
    scale_by_head: bool = True
    """Attention logits over sqrt(D / h) (the text's d_k); False: sqrt(D), Table 2's literal."""
    base_channels: int = 32
    """Channels of the first image convolution at side 64; the others double from it."""
    image_network: ImageNetwork = "conv"
    """Networks of 28 x 28 images: 'mlp' of Table 3 (MNIST) or 'conv' of Table 4 (Fashion); larger
    images have those of Tables 5 to 9."""
    learn_noise: bool = True
    """Learn each Gaussian likelihood's standard deviation; False keeps it at `initial_noise`."""
    decoded_noise: bool = False
    """Decode the standard deviation of each Gaussian likelihood too, one number per modality and
    latent; False: one per modality, which cannot be right both for images seen and guessed."""
    initial_noise: float = 0.3
    """Standard deviation at the start, in normalised units."""
    memory: MemoryConfig | None = None
    """Memory of the samples before the reference time, and how far it reaches; it needs pooling
    'evidence'. None (0 on the command line): none."""
    targets: tuple[DecodedTarget, ...] = ()
    """What is decoded from the latent and never observed, as the training records have it; training
    fills it in by data.targets."""

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ConfigError("a model needs at least one modality")
        names = [m.name for m in self.modalities]
        if len(set(names)) != len(names):
            raise ConfigError(f"modality names must differ, got {names}")
        names += [t.name for t in self.targets]
        if len(set(names)) != len(names):
            raise ConfigError(f"targets must differ from each other and from sensors, got {names}")
        for field in ("latent_dim", "embedding_dim", "num_heads", "base_channels"):
            if getattr(self, field) < 1:
                name = option(f"model.{field}")
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, field)}")
        if self.embedding_dim % self.num_heads:
            raise ConfigError(
                f"--model.embedding-dim {self.embedding_dim} is no multiple of "
                f"--model.num-heads {self.num_heads}"
            )
        for field, known in (
            ("pooling", Pooling),
            ("image_network", ImageNetwork),
            ("covariance", Covariance),
        ):
            if getattr(self, field) not in get_args(known):
                name = option(f"model.{field}")
                raise ConfigError(
                    f"{name} must be one of {get_args(known)}, got '{getattr(self, field)}'"
                )
        if self.covariance == "full" and self.latent_dim < 2:
            raise ConfigError(
                "--model.covariance full needs a --model.latent-dim of at least 2, got 1"
            )
        for field in ("log_precision_limit", "log_var_limit"):
            if not 0 <= getattr(self, field) < math.inf:
                raise ConfigError(
                    f"{option(f'model.{field}')} must be a positive number, or 0 for no limit, got "
                    f"{getattr(self, field)}"
                )
        if not self.initial_noise > 0:
            raise ConfigError(f"--model.initial-noise must be positive, got {self.initial_noise}")
        if self.memory is not None and self.pooling != "evidence":
            raise ConfigError(
                f"--model.memory needs --model.pooling evidence, got '{self.pooling}'"
            )

    def to_json(self) -> dict[str, Any]:
        data = {k: getattr(self, k) for k in self.__dataclass_fields__}
        data["modalities"] = [m.to_json() for m in self.modalities]
        data["memory"] = None if self.memory is None else asdict(self.memory)
        data["targets"] = [t.to_json() for t in self.targets]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelConfig:
        values = dict(data)
        values["modalities"] = tuple(Modality.from_json(m) for m in values["modalities"])
        if values.get("memory") is not None:
            values["memory"] = MemoryConfig.from_json(values["memory"])
        values["targets"] = tuple(map(DecodedTarget.from_json, values.get("targets", ())))
        return cls(**values)
