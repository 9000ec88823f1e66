"""Tiny episodes: in memory for most tests, as files for those that start at the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smvae_core.modality import Modality
from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import TrainConfig
from smvae_training.presets import debug
from tests.training.image_set_runs import digits, evaluated, tasks  # noqa: F401 (fixtures)
from tests.training.told_runs import exported, folder, held_out, run, trained  # noqa: F401


def scene(modality: Modality, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return prepared samples that all modalities can tell: `place` (N,) in [0, 1] moves a bar."""
    count = len(place)
    noise = rng.standard_normal((count, *modality.shape)).astype(np.float32)
    if modality.is_image:
        side = modality.shape[-1]
        columns = np.arange(side) / side
        bar = np.abs(columns[None] - place[:, None]) < 0.15
        image = np.broadcast_to(bar[:, None, None, :], (count, *modality.shape))
        if modality.kind == "color_image":
            return (40 + 170 * image + 2 * noise).clip(0, 255).astype(np.uint8)
        return (0.8 - 0.3 * image + 0.002 * noise).astype(np.float32)
    signal = (place - 0.5).reshape(-1, *(1,) * len(modality.shape))
    return (10.0 * signal + 0.2 * noise).astype(np.float32)


def make_episodes(side: int = 32, trajectories: int = 5, steps: int = 12) -> PreparedEpisodes:
    """Return deterministic episodes in memory."""
    modalities = vision_touch(side)
    rng = np.random.default_rng(7)
    step = np.tile(np.arange(steps, dtype=np.int32), trajectories)
    start = rng.random(trajectories)
    place = (np.repeat(start, steps) + 0.7 * step / steps) % 1.0
    offset = np.stack([place * 0.02, 0.01 - place * 0.02, step * 1e-3], axis=1)
    return PreparedEpisodes.of(
        modalities,
        {m.name: scene(m, place, rng) for m in modalities}
        | {
            "trajectory": np.repeat(np.arange(trajectories, dtype=np.int32), steps),
            "step": step,
            "contact": step >= steps // 2,
            "offset_m": offset.astype(np.float32),
            "hole_pose": np.repeat(start, steps)[:, None] * np.float32([[0.1, 0.1, 0.0, 0.5]]),
        },
        trajectory_names=tuple(f"trial{i}" for i in range(trajectories)),
        path=Path("memory"),
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small models are fastest so, and sums do not depend on the number of cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def episodes() -> PreparedEpisodes:
    return make_episodes()


@pytest.fixture
def config() -> TrainConfig:
    return debug()


@pytest.fixture
def with_steps(config: TrainConfig) -> Callable[[int], TrainConfig]:
    return lambda steps: replace(config, max_steps=steps)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a small model that is not trained."""
    from tests.training.small_bag import untrained_bundle  # needs rosbags

    return untrained_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def runtime(bundle: Path) -> Runtime:
    return Runtime(bundle)
