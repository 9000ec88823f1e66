"""What the model observes of a batch where augmentation is on, keyed by (seed, step, sensor).

B batch, M modality. Targets stay as they were recorded, and nothing absent comes to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.preprocessing import Statistics, affine
from smvae_datasets.dataset import Dataset
from smvae_training.augment import Sensor, augment
from smvae_training.config import AugmentConfig
from smvae_training.draws import Draws, draws_of
from smvae_training.steps.subsets import AUGMENT_STREAM, OUTAGE_STREAM, generator


class Augmenter:
    """Changes what is observed of records; the same step gives the same changes on any machine."""

    def __init__(
        self,
        data: Dataset,
        statistics: Mapping[str, Statistics],
        config: AugmentConfig,
        seed: int,
    ) -> None:
        """Keep where samples come from.

        Args:
            data: All records, of the model's sensors in the model's order.
            statistics: Of the training records as they are.
            config: What is changed, and by how much.
            seed: The run's.
        """
        self._data, self._config, self._seed = data, config, seed
        self._sensors = []
        for modality in data.sensors:
            found = affine(modality, statistics[modality.name])
            scale = np.ones(1, np.float32) if found is None else found[1]
            self._sensors.append(Sensor(modality, scale, config))

    def left(
        self, index: NDArray[np.int64], recorded: NDArray[np.bool_], epoch: int
    ) -> NDArray[np.bool_]:
        """Return what the records `index` hold (B, M) of `recorded`, less what an outage takes.

        Time is cut into runs of `burst` records; of each a sensor is lost with probability
        `dropout`, drawn anew for every pass over the data. A record keeps all that it holds where
        nothing would be left.
        """
        if not self._config.dropout:
            return recorded
        run = index // self._config.burst
        lost = _outages(
            self._seed,
            epoch,
            self._config.dropout,
            len(self._data) // self._config.burst + 1,
            len(self._sensors),
        )[run]
        kept = recorded & ~lost
        return np.where(kept.any(axis=1, keepdims=True), kept, recorded)

    def observed(
        self,
        index: NDArray[np.int64],
        recorded: NDArray[np.bool_],
        arrays: Mapping[str, Tensor],
        step: int,
        shard: tuple[int, int] = (0, 1),
    ) -> dict[str, Tensor]:
        """Return the samples (B, *shape) that are observed in place of those in `arrays`.

        Args:
            index: (R,) records of the whole batch.
            recorded: (R, M) what they hold.
            arrays: Samples (B, *shape) of the rows that this device has.
            step: Of the run.
            shard: (rank, devices): this device has rows rank, rank + devices, ...
        """
        found: dict[str, Tensor] = {}
        if not replace(self._config, dropout=0.0).on:
            return found
        rank, devices = shard
        for number, sensor in enumerate(self._sensors):
            name = sensor.modality.name
            held = np.flatnonzero(recorded[:, number])
            mine = held % devices == rank
            if not mine.any():
                continue
            rng = draws_of(generator(self._seed, AUGMENT_STREAM, step, 0, number), mine)
            held = held[mine]
            changed = np.array(arrays[name].numpy())
            changed[held // devices] = self.samples(number, index[held], rng)
            found[name] = torch.from_numpy(changed)
        return found

    def samples(self, number: int, index: NDArray[np.int64], rng: Draws) -> NDArray[Any]:
        """Return what is observed (B, *shape) of sensor `number` of the records `index` (B,)."""
        sensor = self._sensors[number]
        rows = self._delayed(number, index, rng)
        recorded = np.ascontiguousarray(self._data.arrays[sensor.modality.name][rows])
        return augment(sensor, recorded, rng)

    def _delayed(self, number: int, index: NDArray[np.int64], rng: Draws) -> NDArray[np.int64]:
        """Return the records whose samples are taken: of some the one before, if there is one."""
        if not self._config.delay:
            return index
        before = np.maximum(index - 1, 0)
        group = self._data.group
        there = (before < index) & (group[before] == group[index])
        there &= self._data.recorded[before, number]
        late = there & (rng.random(len(index)) < self._config.delay)
        return np.where(late, before, index)


@lru_cache(maxsize=2)
def _outages(seed: int, epoch: int, share: float, runs: int, sensors: int) -> NDArray[Any]:
    """Return (runs, M) True where a sensor is lost in one pass over the data."""
    return generator(seed, OUTAGE_STREAM, epoch).random((runs, sensors)) < share
