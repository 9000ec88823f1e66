"""LeRobot's official reader, in the environment of `scripts/test_lerobot.sh`; nothing of ours."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

PACKAGES = ("lerobot", "torch", "torchcodec", "av", "datasets")


class LeRobotReader:
    """A turn is some shuffled batches of rows, cameras decoded; the workers' start included.

    With workers this process reads no row itself: they would share its open videos.
    """

    def __init__(
        self, folder: str, backend: str, episodes: int, batch: int, batches: int, workers: int
    ) -> None:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        torch.set_num_threads(1)
        path = Path(folder)
        self.data = LeRobotDataset(
            f"local/{path.name}", root=path, episodes=list(range(episodes)), video_backend=backend
        )
        self.batch, self.batches, self.workers = batch, batches, workers
        self.order = np.random.default_rng(0)
        self.about = {
            "records": len(self.data),
            "backend": backend,
            "shapes": {name: list(said["shape"]) for name, said in self.data.features.items()},
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        }

    def turn(self) -> dict[str, Any]:
        chosen = self.order.permutation(len(self.data))[: self.batch * self.batches]
        loader = DataLoader(
            Subset(self.data, chosen.tolist()),
            batch_size=self.batch,
            num_workers=self.workers,
            shuffle=True,
        )
        return {"samples": sum(len(batch["index"]) for batch in loader)}
