"""Our reader, as `smvae train` uses it: shuffled batches, normalised, of prepared records."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smvae_core.modality import Modality
from smvae_core.preprocessing import measure_statistics
from smvae_core.presets import vision_touch
from smvae_datasets.dataset import Dataset
from smvae_datasets.lerobot import LeRobotEpisode, LeRobotFolder
from smvae_datasets.recordings.folder import read_declaration
from smvae_datasets.sources import prepare_source
from smvae_training.steps.data import BatchOrder, StepStream, loader
from smvae_training.steps.normalise import BatchNormaliser


class _Reader:
    """A turn is whole epochs of shuffled batches, each with the workers' start."""

    def __init__(self, data: Dataset, batch: int, epochs: int, workers: int) -> None:
        torch.set_num_threads(1)
        every = np.arange(len(data))
        some = np.sort(np.random.default_rng(0).permutation(every)[:2000])
        statistics = {
            m.name: measure_statistics(m, data.arrays[m.name][some]) for m in data.sensors
        }
        self.normaliser = BatchNormaliser(data.sensors, statistics)
        self.order = BatchOrder(every, min(batch, len(data)), 0)
        self.data, self.epochs, self.workers, self.step = data, epochs, workers, 0
        sizes = {m.name: list(m.shape) for m in data.sensors}
        self.about = {"records": len(data), "shapes": sizes, "torch": torch.__version__}

    def turn(self) -> dict[str, Any]:
        samples = 0
        for _ in range(self.epochs):
            stream = StepStream(self.data, self.order, lambda: self.step)
            for batch in loader(stream, self.workers, False):
                samples += len(next(iter(self.normaliser(batch.arrays).values())))
                self.step += 1
        return {"samples": samples}


class VisionTouch(_Reader):
    """Of a folder of Vision&Touch episodes."""

    def __init__(self, folder: str, side: int, batch: int, epochs: int, workers: int) -> None:
        data = prepare_source("episodes", Path(folder), vision_touch(side), progress=False)
        super().__init__(data, batch, epochs, workers)


class Recordings(_Reader):
    """Of a folder that `smvae episodes` wrote."""

    def __init__(
        self, folder: str, size: tuple[int, int], batch: int, epochs: int, workers: int
    ) -> None:
        data = recordings(Path(folder), size)
        super().__init__(data, batch, epochs, workers)


class VideoInOrder:
    """Rows of a LeRobot folder with their frames as `smvae episodes` reads them: once, in order."""

    def __init__(self, folder: str, rows: int) -> None:
        self.folder, self.rows = LeRobotFolder(Path(folder)), rows
        self.episodes = cycle(self.folder.present)
        self.camera = next(n for n, f in self.folder.features.items() if f.dtype == "video")
        self.about = {"av": importlib.metadata.version("av")}

    def turn(self) -> dict[str, Any]:
        samples = 0
        while samples < self.rows:
            episode = LeRobotEpisode(self.folder, next(self.episodes))
            for topic, _, cell in episode.messages():
                samples += topic == self.camera
                episode.decode(topic, cell)
        return {"samples": samples}


def recordings(folder: Path, size: tuple[int, int]) -> Dataset:
    """Return the records of a folder of episodes, images (height, width) of `size`."""

    def sized(modality: Modality) -> Modality:
        if not modality.is_image:
            return modality
        return replace(modality, shape=(modality.shape[0], *size))

    sensors = [sized(m) for m in read_declaration(folder).modalities]
    return prepare_source("episodes", folder, sensors, progress=False)
