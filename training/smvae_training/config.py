"""What a training run is made of: frozen settings; `presets.py` has the named ones.

Every field can be overridden on the command line (`smvae train --optimizer.lr 3e-4`); the line
under a field is its help.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

from smvae_core.errors import ConfigError, option
from smvae_core.model.config import ModelConfig
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.preprocessing import ForceScaling
from smvae_datasets.sources import Source
from smvae_datasets.splits import SplitBy
from smvae_datasets.vision_touch.steps import ActionPairing
from smvae_training.hardware import Accelerator, Precision
from smvae_training.steps.stages import Stages

SelfSupervised = Literal["contact", "motion", "pairing"]
#: What is learned by mixing sensors of two records, and is no target of any one of them.
PAIRING = "pairing"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def check_seed(name: str, seed: int) -> None:
    """Refuse a seed that some generator does not take.

    Raises:
        ConfigError: If it is negative, or of more than 63 bits.
    """
    _require(0 <= seed < 2**63, f"{option(name)} must lie in [0, 2^63), got {seed}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which records, prepared how, and who is held out."""

    source: Source = "episodes"
    """'episodes' (of `smvae episodes`, or in the Vision&Touch layout), or an image set."""
    binarised: bool = False
    """MNIST: pixels drawn as Bernoulli(level / 255), for training anew at every step, for testing
    once and for all; False keeps grey levels. Numbers of the two must never be compared."""
    split_by: SplitBy = "trajectory"
    """'trajectory': all steps of one on one side. 'sample': the paper's, which leaks. 'given': the
    data set's own test part."""
    held_out: float = 0.2
    """Share held out for `smvae evaluate`; 0.3 by sample is the paper's."""
    validation: float = 0.0
    """Further share for the ELBO shown while training; 0 for none."""
    split_seed: int = 0
    """Seed of the split, apart from the run's seed, so that several runs share one split."""
    action: ActionPairing = "newest"
    """'newest': observation t with command t, as a live node can; 'next': the authors' t+1."""
    force_scaling: ForceScaling = "standard"
    """'standard': (F - mean) / scale of the training split; 'tanh': of newtons, the authors'."""
    targets: tuple[str, ...] = ()
    """Targets of the data that are decoded from the latent and never observed, such as 'offset
    contact'; 'all': every one that training records tell."""
    self_supervised: tuple[SelfSupervised, ...] = ()
    """Further ones that are computed from the sensors alone. 'contact': whether the next record is
    in contact, by its force. 'motion': how the robot moves until then. 'pairing': whether all that
    is observed is of one moment; only in training."""
    labelled_share: float = 0.5
    """Where a smaller share of the training records tells a recorded target, this share of each
    batch is drawn from those that do, so that few labels count more often. 0: records come as they
    are."""
    decode_on: float = 1.0
    """Without memory: after the last step the decoders of targets learn on, from a latent that no
    longer changes, for this share of the steps before. A step takes milliseconds. 0: none."""

    def __post_init__(self) -> None:
        known = get_args(SelfSupervised)
        for name in self.self_supervised:
            _require(
                name in known,
                f"--data.self-supervised: expected some of {', '.join(known)}, got '{name}'",
            )
        _require(
            not (PAIRING in self.self_supervised and self.binarised),
            "--data.self-supervised: pairing is not for --data.binarised",
        )
        _require(0 < self.held_out < 1, f"--data.held-out must lie in (0, 1), got {self.held_out}")
        check_seed("data.split_seed", self.split_seed)
        _require(
            0 <= self.labelled_share < 1,
            f"--data.labelled-share must lie in [0, 1), got {self.labelled_share}",
        )
        _require(
            0 <= self.decode_on < math.inf,
            f"--data.decode-on must be 0 or more, and finite, got {self.decode_on}",
        )
        _require(
            0 <= self.validation < 1, f"--data.validation must lie in [0, 1), got {self.validation}"
        )


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Changes of what the model observes in training; what it decodes stays as recorded. 0 = off.

    What each does to a kind of sensor: `smvae_training/augment/`.
    """

    crop: float = 0.0
    """Images are shifted by up to this share of their sides, as by a camera that was touched."""
    color: float = 0.0
    """Colour and grey images: gain, level and tint change by up to this share of their range."""
    holes: float = 0.0
    """Depth: a rectangle of up to this share of the image has no return; scans: such a run of
    beams. A sample that would have none left stays as it is."""
    bias: float = 0.0
    """Windows, vectors and joint states are off by a number per channel of this many training
    deviations, as a sensor that drifted."""
    noise: float = 0.0
    """The same get noise of this many training deviations, and ranges of scans of this share."""
    lost: float = 0.0
    """Windows: a run of up to this share of the readings is lost and bridged by straight lines."""
    delay: float = 0.0
    """Probability that a sample is the one of the record before, as of a sensor that came late."""
    dropout: float = 0.0
    """Probability that a run of `burst` neighbouring records lacks a sensor, drawn anew in every
    pass; it is absent then, and no target. A record keeps at least one sensor."""
    burst: int = 20
    """Records of such a run: 1 s at 20 Hz."""

    def __post_init__(self) -> None:
        for name in ("crop", "color", "holes", "lost", "delay", "dropout"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"{option(f'augment.{name}')} must lie in [0, 1), got {value}")
        for name in ("bias", "noise"):
            value = getattr(self, name)
            _require(value >= 0, f"{option(f'augment.{name}')} must not be negative, got {value}")
        _require(self.burst >= 1, f"--augment.burst must be at least 1, got {self.burst}")

    @property
    def on(self) -> bool:
        """Whether anything is changed."""
        return self != replace(AugmentConfig(), burst=self.burst)


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """Only with model.memory: how the memory is trained, and which losses of sensors it sees.

    Training has three stages. First the model is trained without memory, on single instants. Then
    the sensors' networks are fixed and every record is embedded once. In stages `match` and `tune`
    the rest learns to remember. There each sample loses sensors at random: a lost sensor is not
    observed at the reference time, and nothing of it is remembered after the loss. What is decoded
    stays that of the reference time. Shares below are probabilities.
    """

    match: float = 0.35
    """Steps of stage `match`, as a share of those before. Posteriors with memory learn to equal the
    posterior of the same instant with every sensor. Nothing is decoded, so a step is quick."""
    tune: float = 0.35
    """Steps of stage `tune`, as the same share. Means of posteriors are decoded as well."""
    matching: float = 100.0
    """Weight of matching in `tune`, beside the log likelihood of what is decoded. At 0 the mean may
    leave what every sensor would say, and its variance does not tell. Far above 100, images no
    longer teach the mean."""
    match_batches: int = 3
    """Batches in each step of `match`."""
    tune_lr: float = 0.25
    """Learning rate at the end of `match`, as a multiple of optimizer.lr. In `tune` it falls to
    zero."""
    share: float = 0.8
    """Share of samples with a memory; the others are single instants."""
    outage_s: tuple[float, float] = (0.1, 5.0)
    """Shortest and longest loss [s], drawn log-uniform. Each sensor is among the lost ones with
    probability one half."""
    calm: float = 0.15
    """Share of samples with a memory in which no such loss happens."""
    images: float = 0.4
    """Share of losses that take all images and nothing else, as a light or a USB hub does."""
    alone: float = 0.15
    """Share of sensors that are lost alone, each for a time of its own."""
    late: float = 0.15
    """Share of sensors whose newest sample is late: the one before is observed, with its age."""
    absent: float = 0.15
    """Share of sensors that were never there: nothing of them is remembered."""
    burst: float = 0.25
    """Share of sensors with a second loss within what is remembered."""
    history_s: float = 0.1
    """Shortest time that is remembered, as a share of model.memory.horizon_s; log-uniform."""
    thinning: float = 6.0
    """Each sensor keeps every n-th sample, n log-uniform from 1 to this, as at lower rates."""
    jitter_s: float = 0.003
    """Ages of samples are wrong by up to this [s]."""
    elements: int = 24
    """At most so many samples of one sensor, spread over the time that is remembered."""

    def __post_init__(self) -> None:
        for name in ("share", "calm", "images", "alone", "late", "absent", "burst"):
            value = getattr(self, name)
            _require(
                0 <= value <= 1, f"{option(f'context.{name}')} must lie in [0, 1], got {value}"
            )
        for name in ("match", "tune", "tune_lr", "matching"):
            value = getattr(self, name)
            _require(value >= 0, f"{option(f'context.{name}')} must not be negative, got {value}")
            _require(value < math.inf, f"{option(f'context.{name}')} must be finite, got {value}")
        shortest, longest = self.outage_s
        _require(
            0 < shortest <= longest,
            f"--context.outage-s must be positive, the shortest first, got {self.outage_s}",
        )
        _require(
            0 < self.history_s <= 1, f"--context.history-s must lie in (0, 1], got {self.history_s}"
        )
        _require(self.thinning >= 1, f"--context.thinning must be at least 1, got {self.thinning}")
        _require(
            self.jitter_s >= 0, f"--context.jitter-s must not be negative, got {self.jitter_s}"
        )
        for name in ("elements", "match_batches"):
            value = getattr(self, name)
            _require(value >= 1, f"{option(f'context.{name}')} must be at least 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its learning rate over the steps."""

    lr: float = 1e-3
    """Highest learning rate."""
    noise_lr_multiple: float = 20.0
    """Learning rate of the noise scales, as a multiple of lr. They start at 0.3, and images hardly
    count until they reach about 0.05. Decoded noise learns at lr."""
    weight_decay: float = 0.0
    """Decoupled weight decay (0 makes AdamW Adam)."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """'cosine' falls to zero at the last step; a run with it cannot be prolonged afterwards."""
    warmup: int = 100
    """Steps of linear warm-up."""
    clip: float = 0.0
    """Largest norm of the gradient, in nats; 0 = no clipping. On simulated episodes it is 125,000
    at first and 12,000 later. So 50,000, as in their presets, only stops a runaway."""
    ema: float = 0.0
    """Decay of the averaged weights that are evaluated and exported, e.g. 0.999; 0 for none."""

    def __post_init__(self) -> None:
        for name in ("lr", "noise_lr_multiple"):
            value = getattr(self, name)
            _require(value > 0, f"{option(f'optimizer.{name}')} must be positive, got {value}")
        for name in ("weight_decay", "warmup", "clip"):
            value = getattr(self, name)
            _require(value >= 0, f"{option(f'optimizer.{name}')} must not be negative, got {value}")
        _require(0 <= self.ema < 1, f"--optimizer.ema must lie in [0, 1), got {self.ema}")


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Where and how it computes; changes speed and rounding, not the experiment."""

    precision: Precision = "auto"
    """'32', 'bf16' (autocast), or 'auto': bf16 where the CPU or GPU has it; the log says which."""
    accelerator: Accelerator = "auto"
    """'auto' takes a GPU when there is one."""
    devices: int = 1
    """Devices of this machine; with --ray, workers of the cluster. The batch is shared out among
    them."""
    channels_last: bool = True
    """Image memory layout; faster convolutions on CPUs and new GPUs."""
    compile: bool = False
    """torch.compile the objective: slow start, faster steps on a GPU."""
    workers: int = 0
    """Loader processes; 0 is fastest where the prepared data fit into memory."""

    def __post_init__(self) -> None:
        _require(self.devices >= 1, f"--hardware.devices must be at least 1, got {self.devices}")
        _require(self.workers >= 0, f"--hardware.workers must not be negative, got {self.workers}")


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """How often things are written down."""

    every: int = 50
    """Steps between rows of metrics.jsonl and TensorBoard."""
    checkpoint_every: int = 500
    """Steps between checkpoints; a stop and the end always write one."""
    validate_every: int = 0
    """Steps between quick ELBOs on the validation share; 0 for none."""
    validate_records: int = 256
    """Records of that quick ELBO."""
    tensorboard: bool = True
    """Write TensorBoard event files."""

    def __post_init__(self) -> None:
        _require(self.every >= 1, f"--log.every must be at least 1, got {self.every}")
        for name in ("checkpoint_every", "validate_every", "validate_records"):
            value = getattr(self, name)
            _require(value >= 0, f"{option(f'log.{name}')} must not be negative, got {value}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    log: LogConfig = field(default_factory=LogConfig)
    batch_size: int = 128
    """Records per step, over all devices."""
    max_steps: int = 0
    """Length of training in steps; 0: `epochs` decides."""
    epochs: int = 100
    """Length of training in passes over the training split, where max_steps is 0."""
    annealing: float = 0.5
    """Share of the steps over which beta rises linearly from 0 to 1, with every mini-batch."""
    seed: int = 0
    """Seed of weights, shuffling, subsets and latent samples."""

    def __post_init__(self) -> None:
        _require(self.batch_size >= 2, f"--batch-size must be at least 2, got {self.batch_size}")
        _require(self.max_steps >= 0, f"--max-steps must not be negative, got {self.max_steps}")
        _require(
            self.max_steps > 0 or self.epochs > 0,
            "either --max-steps or --epochs must be positive, got "
            f"{self.max_steps} and {self.epochs}",
        )
        _require(0 <= self.annealing <= 1, f"--annealing must lie in [0, 1], got {self.annealing}")
        check_seed("seed", self.seed)
        _require(
            self.batch_size >= self.hardware.devices,
            f"--batch-size {self.batch_size} cannot be shared by {self.hardware.devices} devices",
        )
        _require(
            not (self.data.binarised and self.augment.on),
            "--data.binarised draws the pixels itself: leave --augment.* at 0",
        )
        _require(
            not self.log.validate_every or self.data.validation > 0,
            "--log.validate-every needs a validation share: set --data.validation, e.g. 0.1",
        )
        weights = self.objective.weights
        _require(
            any(weights.get(m.name, 1.0) > 0 for m in self.model.modalities),
            f"--objective.weights leaves nothing to learn: every sensor's is 0, got {weights}",
        )
        _require(
            self.model.memory is None or self.context.match + self.context.tune > 0,
            "--model.memory learns in the steps of --context.match and --context.tune: one of "
            "them must be above 0",
        )

    def stages(self, steps_per_epoch: int) -> Stages:
        """Return how many steps each stage of the run has."""
        own = self.max_steps or self.epochs * steps_per_epoch
        if self.model.memory is None:
            return Stages(own)
        later = (self.context.match, self.context.tune)
        return Stages(own, *(max(1, round(share * own)) if share else 0 for share in later))

    def beta(self, step: int, own_steps: int) -> float:
        """Return the annealing coefficient of step 0, 1, ... of a first stage of `own_steps`."""
        rising = self.annealing * own_steps
        return 1.0 if rising <= 0 else min(1.0, step / rising)

    def to_json(self) -> dict[str, Any]:
        data = asdict(self) | {"model": self.model.to_json()}
        data["objective"]["weights"] = dict(self.objective.weights)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Rebuild the configuration of a run.

        Raises:
            ConfigError: If the file has a field that this version does not know, or lacks one.
        """
        parts: dict[str, Callable[..., Any]] = {
            "model": lambda **values: ModelConfig.from_json(values),
            "objective": partial(_objective, data.get("data", {})),
            "data": _data,
            "augment": AugmentConfig,
            "context": _context,
            "optimizer": OptimizerConfig,
            "hardware": HardwareConfig,
            "log": LogConfig,
        }
        try:
            return cls(**{k: parts[k](**v) if k in parts else v for k, v in data.items()})
        except (TypeError, KeyError) as err:
            raise ConfigError(f"training configuration of another version: {err}") from err


def _objective(beside: Mapping[str, Any], **values: Any) -> ObjectiveConfig:
    """Return the objective, of an earlier version also, which decoded targets from S alone."""
    decoded = beside.get("targets") or beside.get("self_supervised")
    values.setdefault("targets_from_rest", not decoded)
    return ObjectiveConfig(**values)


def _data(
    targets: Sequence[str] = (), self_supervised: Sequence[SelfSupervised] = (), **values: Any
) -> DataConfig:
    """Return the settings of data, of an earlier version also, which had fewer.

    Its records came as they were, and its decoders learned in the steps alone; without targets both
    are so always.
    """
    values.setdefault("labelled_share", 0.0 if targets else DataConfig.labelled_share)
    decoded = targets or self_supervised
    values.setdefault("decode_on", 0.0 if decoded else DataConfig.decode_on)
    return DataConfig(targets=tuple(targets), self_supervised=tuple(self_supervised), **values)


def _context(outage_s: Sequence[float], **values: Any) -> ContextConfig:
    """Return the settings of contexts, without two that a run of an earlier version may name."""
    kept = {k: v for k, v in values.items() if k not in ("second", "beside")}
    return ContextConfig(outage_s=(outage_s[0], outage_s[1]), **kept)
