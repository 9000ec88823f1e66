"""Preset `robot`: every setting from the declared sensors, for about 10 minutes on two CPU cores.

No kind is named here: what counts is whether a sensor is an image or a window, and its size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE
from smvae_training.config import AugmentConfig, LogConfig, OptimizerConfig, TrainConfig

#: What training is planned to take [s].
BUDGET_S = 600.0
#: Of two cores with bf16, from 2,500 steps of networks of full size in 8 minutes: operations of a
#: forward pass per second of training, and what a step costs beside them [s]
#: (docs/decisions/robot-preset.md).
OPERATIONS_PER_S, OVERHEAD_S = 5.0e10, 0.03
#: Fewest and most steps that are planned.
STEPS = (1000, 12_000)
#: More sensors than this have too many subsets for each to be trained.
MOST_SENSORS_OF_ATTENTION = 6
#: Latent numbers of each sensor, more of an image (docs/decisions/robot-latent.md).
NUMBERS, NUMBERS_OF_IMAGE = 16, 64
#: Deviations by which windows, vectors and joints beside a camera are off in training: else images
#: of few episodes are learned by heart from them, and the camera is not believed (the same page).
BIAS = 0.3
#: No posterior is wider than by this log variance: one jolt of a sensor, and training diverged
#: within 300 steps (docs/decisions/log-var-limit.md).
LOG_VAR_LIMIT = 4.0
#: Pixels over all images up to which networks have the paper's 32 channels, or half of them.
WIDE_PIXELS, HALF_PIXELS = 2 * 64**2, 8 * 64**2


def robot(modalities: Sequence[Modality]) -> TrainConfig:
    """Return the settings for declared sensors, see `explain` for the reasons."""
    sensors = tuple(modalities)
    images = [m for m in sensors if m.is_image]
    pixels = sum(m.shape[1] * m.shape[2] for m in images)
    model = ModelConfig(
        modalities=sensors,
        latent_dim=min(128, max(32, sum(_numbers(m) for m in sensors))),
        embedding_dim=512 if len(sensors) <= 8 else 256,
        pooling="paper" if len(sensors) <= MOST_SENSORS_OF_ATTENTION else "evidence",
        base_channels=32 if pixels <= WIDE_PIXELS else 16 if pixels <= HALF_PIXELS else 8,
        decoded_noise=True,
        log_var_limit=LOG_VAR_LIMIT,
    )
    batch_size = 32 if images else 128
    steps = planned_steps(model, batch_size)
    return TrainConfig(
        model=model,
        objective=ObjectiveConfig(balance=0.5),
        optimizer=OptimizerConfig(lr=2e-3, warmup=steps // 20, clip=50_000.0),
        augment=AugmentConfig(bias=BIAS if images else 0.0),
        batch_size=batch_size,
        max_steps=steps,
        annealing=0.3,
        log=LogConfig(every=20, checkpoint_every=500),
    )


def _numbers(modality: Modality) -> int:
    return NUMBERS_OF_IMAGE if modality.is_image else NUMBERS


def operations(model: ModelConfig) -> int:
    """Return multiplications and additions to embed, pool and decode one record once."""
    network = SMVAE(model).eval()
    batch = {m.name: torch.from_numpy(m.example(1)) for m in model.modalities}
    present = torch.ones(1, len(model.modalities), dtype=torch.bool)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.decode(network.encode(batch, present).mean)
    return int(counter.get_total_flops())


def planned_steps(model: ModelConfig, batch_size: int) -> int:
    """Return how many steps fit into the budget, in hundreds; the same on every machine."""
    fewest, most = STEPS
    return int(min(most, max(fewest, BUDGET_S / step_s(model, batch_size))) // 100 * 100)


def step_s(model: ModelConfig, batch_size: int) -> float:
    """Return what a step is planned to take [s]."""
    return OVERHEAD_S + batch_size * operations(model) / OPERATIONS_PER_S


def _length(config: TrainConfig) -> str:
    """Return how many steps there are, of the settings as they are, and how long they take."""
    each = f"steps of {config.batch_size} records"
    if not config.max_steps:
        return f"{config.epochs} epochs in {each}"
    minutes = round(config.max_steps * step_s(config.model, config.batch_size) / 60)
    short = "about a minute" if minutes else "less than a minute"
    lasts = f"about {minutes} minutes" if minutes > 1 else short
    return f"{config.max_steps} {each}, {lasts} on 2 cores; --max-steps for more or fewer"


def explain(config: TrainConfig) -> list[str]:
    """Return what was chosen, and why, one line each."""
    model, sensors = config.model, config.model.modalities
    weights = ", ".join(f"{m.name} {config.objective.weight(m, sensors):.3g}" for m in sensors)
    windows = ", ".join(
        f"{m.name} {m.shape[-1]} readings, {1e3 * m.family.span_s(m):g} ms"
        for m in sensors
        if m.family.is_window
    )
    fixed = [m.name for m in sensors if not m.has_noise]
    images = [m for m in sensors if m.is_image]
    return [
        f"sensors: {', '.join(f'{m.name} ({m.kind})' for m in sensors)}",
        f"latent: {model.latent_dim} numbers, {NUMBERS_OF_IMAGE} per image and {NUMBERS} per other "
        f"sensor within 32 to 128; each sensor embedded into {model.embedding_dim}",
        f"image networks: {model.base_channels} channels at first, for {len(images)} images"
        if images
        else "image networks: none",
        f"pooling: {model.pooling}, "
        + (
            "attention, the best within minutes (docs/decisions/demo-preset.md)"
            if model.pooling == "paper"
            else f"since {len(sensors)} sensors have more subsets than are trained: precisions add"
        ),
        f"weights: {weights}: each sensor counts by the root of its size",
        "noise: learned and decoded"
        + (f", none for {', '.join(fixed)}, whose values are probabilities" if fixed else ""),
        f"windows: {windows or 'none'}",
        f"log variances: up to {model.log_var_limit:g}, so that one jolt of a sensor does not undo "
        "a training (docs/decisions/log-var-limit.md)"
        if model.log_var_limit
        else "log variances: without a limit",
        f"length: {_length(config)}",
        "augmentation: "
        + (_spelled(config.augment) if config.augment.on else "off")
        + " (docs/decisions/robot-latent.md)",
    ]


def _spelled(augment: AugmentConfig) -> str:
    given = {name: getattr(augment, name) for name in augment.__dataclass_fields__}
    return ", ".join(f"{k} {v:g}" for k, v in given.items() if v and k != "burst")
