"""What every contender trains: the robot's networks of full size, batches of 32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.robots.network_sizes import full_networks
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_training.config import HardwareConfig, LogConfig, TrainConfig
from smvae_training.hardware import Precision
from smvae_training.presets import mnist, vision_touch

BATCH = 32
#: Our objectives by the presets that have them by default; weights and networks are all the same.
OBJECTIVES: Mapping[str, ObjectiveConfig] = {
    "observed": full_networks().objective,
    "complement": vision_touch().objective,
    "joint": replace(mnist().objective, weights={}, balance=0.5),
}
PRESETS = {"observed": "demo, robot", "complement": "vision_touch", "joint": "mnist, fashion"}


def settings(objective: str, precision: Precision) -> TrainConfig:
    """Return the settings of a run without end, on the CPU."""
    return replace(
        full_networks(),
        objective=OBJECTIVES[objective],
        batch_size=BATCH,
        max_steps=10**7,
        hardware=HardwareConfig(precision=precision, accelerator="cpu"),
        log=LogConfig(checkpoint_every=0),
    )
