"""Small bags for the offline evaluation: two seconds of all sensors, the cameras off between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from live_bag import BagMaker
from rosbags.rosbag2 import StoragePlugin, Writer

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import measure_statistics, prepare
from smvae_core.presets import vision_touch
from smvae_core.robot import Robot
from smvae_core.runtime import Runtime
from smvae_training.evaluate.bag.inputs import Input
from smvae_training.evaluate.live.bag import sensor_of

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def read_by(inputs: list[Input], topic: str, to_array: Any) -> list[Input]:
    """Return the inputs, the messages of one topic read by another function."""

    def changed(found: Input) -> Input:
        converter = replace(found.source.converter, to_array=to_array)
        return replace(found, source=replace(found.source, converter=converter))

    return [changed(each) if each.topic == topic else each for each in inputs]


def untrained_bundle(
    folder: Path,
    modalities: tuple[Modality, ...] = vision_touch(32),
    robot: Robot | None = None,
) -> Path:
    """Export a small untrained model: its numbers are as good as any to compare with."""
    import torch

    torch.manual_seed(0)
    model = SMVAE(
        ModelConfig(modalities=modalities, latent_dim=8, embedding_dim=32, base_channels=4)
    )
    statistics = {
        m.name: measure_statistics(
            m, np.stack([prepare(m, m.example_sample(seed)) for seed in range(8)])
        )
        for m in modalities
    }
    return export_bundle(model, statistics, folder / "untrained", name="untrained", robot=robot)


class SmallBag(BagMaker):
    """Writes steps of 50 ms of chosen sensors."""

    def __init__(self, path: Path, runtime: Runtime, storage: str = "mcap") -> None:
        """Prepare a bag of a storage ('mcap' or 'sqlite3')."""
        super().__init__(path, runtime)
        self.writer = Writer(path, version=9, storage_plugin=STORAGES[storage])

    def play(self, *states: tuple[Sequence[str], int]) -> Path:
        """Write so many steps of each set of modalities, one after the other."""
        with self.writer:
            for names, steps in states:
                on = tuple(sensor_of(m) for m in self.modalities if m.name in names)
                for _ in range(steps):
                    self.step(on)
        return self.path

    def standard(self) -> Path:
        """Write all sensors, then no camera, then all again."""
        every = tuple(m.name for m in self.modalities)
        blind = tuple(m.name for m in self.modalities if not m.is_image)
        return self.play((every, 20), (blind, 12), (every, 10))
