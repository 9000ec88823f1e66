"""What the model remembers in a training step: earlier records, lost as robots lose sensors.

B batch, M sensors, K earlier records, R samples of one sensor. A context is a pure function of the
run's seed and the step, as everything that is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_datasets.dataset import Dataset, DataSetError
from smvae_training.config import ContextConfig
from smvae_training.steps.subsets import CONTEXT_STREAM, generator


class Remembered(NamedTuple):
    """Samples of one sensor before the reference times of a batch."""

    record: NDArray[np.int64]
    """(R,) where in the data set each sample lies."""
    owner: NDArray[np.int64]
    """(R,) which sample of the batch remembers it."""
    age_s: NDArray[np.float32]
    """(R,) its age at the reference time."""


@dataclass(frozen=True)
class Drawn:
    """What a batch observes at the reference time, and what it remembers."""

    present: NDArray[np.bool_]
    """(B, M) subset of what was recorded at the reference time; never empty."""
    remembered: Mapping[str, Remembered]
    """By sensor; a sensor that nobody remembers has no rows."""


class Contexts:
    """Draws contexts from the training records of the same group within the horizon."""

    def __init__(
        self,
        data: Dataset,
        index: NDArray[np.int64],
        config: ContextConfig,
        horizon_s: float,
        seed: int,
    ) -> None:
        """Sort the training records in time.

        Args:
            data: All records, of the model's sensors in the model's order.
            index: Records of the training split; no other is ever remembered.
            config: How contexts are drawn.
            horizon_s: Oldest age of what is remembered.
            seed: The run's.

        Raises:
            DataSetError: If no record has an earlier one within the horizon, as image sets.
        """
        self._names = tuple(m.name for m in data.sensors)
        self._recorded, self._config, self._seed = data.recorded, config, seed
        self._horizon_s = horizon_s
        self._images = np.array([m.is_image for m in data.sensors])
        order = index[np.lexsort((data.stamp_ns[index], data.group[index]))]
        self._sorted = order
        self._stamp_ns = data.stamp_ns[order]
        self._place = np.full(len(data), -1, np.int64)
        self._place[order] = np.arange(len(order))
        begin = np.searchsorted(data.group[order], data.group[order])
        span_ns = round(horizon_s * 1e9)
        first = [
            start + np.searchsorted(self._stamp_ns[start:place], stamp - span_ns)
            for place, (start, stamp) in enumerate(zip(begin, self._stamp_ns, strict=True))
        ]
        self._first = np.array(first, np.int64)
        self._longest = int((np.arange(len(order)) - self._first).max(initial=0))
        if not (self._stamp_ns > self._stamp_ns[self._first]).any():
            raise DataSetError(
                data.path or "records",
                f"--model.memory needs records with stamps, some within {horizon_s:g} s of each "
                "other: these have none",
                hint="train without --model.memory",
            )

    def draw(self, index: NDArray[np.int64], subset: NDArray[np.bool_], step: int) -> Drawn:
        """Draw what the records `index` (B,) observe, and what they remember.

        Those that remember nothing observe the `subset` (B, M), others all that was not lost, or
        the subset if that would be nothing. See `ContextConfig` for what is drawn.
        """
        rng = generator(self._seed, CONTEXT_STREAM, step)
        batch, sensors = subset.shape
        place = self._place[index]
        earlier = place[:, None] - np.arange(1, self._longest + 1)
        there = earlier >= self._first[place][:, None]
        earlier = np.maximum(earlier, 0)
        age_s = (self._stamp_ns[place][:, None] - self._stamp_ns[earlier]) * 1e-9
        there &= age_s > 0.0
        rows = self._sorted[earlier]
        jitter_s = rng.uniform(-1.0, 1.0, age_s.shape) * self._config.jitter_s
        told_s = np.maximum(age_s + jitter_s, 0.0).astype(np.float32)
        scenario = self._scenario(rng, batch, sensors)
        observed = self._recorded[index] & ~scenario.lost & ~scenario.late
        some = scenario.remembers.any(axis=1, keepdims=True) & observed.any(axis=1, keepdims=True)
        observed = np.where(some, observed, subset)
        remembered = {}
        for number, name in enumerate(self._names):
            kept = there & self._recorded[rows, number]
            kept &= self._kept(rng, age_s, kept, scenario, number)
            owner, column = np.nonzero(kept)
            remembered[name] = Remembered(rows[owner, column], owner, told_s[owner, column])
        return Drawn(observed, remembered)

    def _scenario(self, rng: np.random.Generator, batch: int, sensors: int) -> _Scenario:
        config = self._config
        with_memory = rng.random((batch, 1)) < config.share
        together = rng.random((batch, sensors)) < 0.5
        if self._images.any() and not self._images.all():
            together = np.where(rng.random((batch, 1)) < config.images, self._images, together)
        together &= ~together.all(axis=1, keepdims=True)
        together &= rng.random((batch, 1)) >= config.calm
        alone = ~together & (rng.random((batch, sensors)) < config.alone)
        gap_s = np.where(together, self._outage_s(rng, (batch, 1)), 0.0)
        gap_s = np.where(alone, self._outage_s(rng, (batch, sensors)), gap_s)
        late = ~together & (rng.random((batch, sensors)) < config.late)
        return _Scenario(
            remembers=with_memory & (rng.random((batch, sensors)) >= config.absent),
            lost=with_memory & (together | alone),
            late=with_memory & late,
            gap_s=gap_s,
        )

    def _outage_s(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return lengths of outages, log-uniform within the configured limits."""
        shortest, longest = np.log(self._config.outage_s)
        return np.exp(rng.uniform(shortest, longest, shape))

    def _kept(
        self,
        rng: np.random.Generator,
        age_s: NDArray[np.float64],
        there: NDArray[np.bool_],
        scenario: _Scenario,
        number: int,
    ) -> NDArray[np.bool_]:
        """Return which (B, K) of a sensor's earlier samples are remembered."""
        config, batch = self._config, len(age_s)
        gap_s = scenario.gap_s[:, number, None]
        longest_s = np.exp(rng.uniform(np.log(config.history_s), 0.0, (batch, 1)))
        kept = there & scenario.remembers[:, number, None] & (age_s >= gap_s)
        kept &= age_s <= gap_s + longest_s * self._horizon_s
        burst = rng.random((batch, 1)) < config.burst
        start_s = rng.uniform(0.0, self._horizon_s, (batch, 1))
        kept &= ~(burst & (age_s >= start_s) & (age_s < start_s + self._outage_s(rng, (batch, 1))))
        thinned = np.exp(rng.uniform(0.0, np.log(config.thinning), (batch, 1))).astype(np.int64)
        count = kept.sum(axis=1, keepdims=True)
        stride = np.maximum(thinned, -(-count // config.elements))
        return kept & ((kept.cumsum(axis=1) - 1) % stride == 0)


@dataclass(frozen=True)
class _Scenario:
    """How sensors are lost in a batch; arrays (B, M)."""

    remembers: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    late: NDArray[np.bool_]
    gap_s: NDArray[np.float64]
