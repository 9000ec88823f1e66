"""Runs of a few steps on records in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import TrainConfig
from smvae_training.resume import check_folder
from smvae_training.run import RunPaths
from smvae_training.steps.callbacks import read_metrics
from smvae_training.trainer import Build, build_smvae, train_on

WithSteps = Callable[[int], TrainConfig]


def run(
    config: TrainConfig,
    episodes: PreparedEpisodes,
    folder: Path,
    resume: bool = False,
    stop_after: int | None = None,
    callbacks: list[Callback] | None = None,
    build: Build = build_smvae,
) -> RunPaths:
    paths = RunPaths(folder)
    old = check_folder(paths, config, resume, False)
    train_on(config, episodes, paths, old, "memory", stop_after, callbacks, build)
    return paths


def rows_without_speed(paths: RunPaths) -> list[dict[str, Any]]:
    rows = read_metrics(paths.metrics)
    return [{k: v for k, v in row.items() if k != "samples_per_s"} for row in rows]
