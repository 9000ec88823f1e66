"""Prepared records -> batches, one vectorised gather each, in an order keyed by (seed, step).

B batch, M modality. A batch is a pure function of the run's seed and the number of its step;
a resumed run therefore reads exactly what an uninterrupted one would have read. Devices share it
row by row, and what a row is does not depend on how many devices there are.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from smvae_core.errors import ConfigError
from smvae_core.model.distributions import Share
from smvae_datasets.dataset import Dataset
from smvae_training.augmenter import Augmenter
from smvae_training.draws import draws_of
from smvae_training.steps.contexts import Contexts, Remembered
from smvae_training.steps.pairing import Mixed, Pairing
from smvae_training.steps.stages import Stages
from smvae_training.steps.subsets import (
    PIXEL_STREAM,
    SHUFFLE_STREAM,
    SUBSET_STREAM,
    draw_subsets,
    generator,
)

#: Arrays above this size are fingerprinted by 64 records spread over them.
FINGERPRINT_WHOLE_BYTES = 16 * 2**20


class References(NamedTuple):
    """Records at whose times posteriors are asked for, and what is remembered at each of them."""

    record: NDArray[np.int64]
    """(B,) where in the data set they lie."""
    remembered: Mapping[str, Remembered]
    """By sensor."""


class Batch(NamedTuple):
    """What one training step reads, still in the compact dtypes of `preprocessing.prepare`."""

    arrays: dict[str, Tensor]
    """Per modality (B, *shape), e.g. uint8 for colour."""
    recorded: Tensor
    """(B, M) bool: the record holds it."""
    present: Tensor
    """(B, M) bool: the model observes it in this step."""
    observed: dict[str, Tensor] = {}  # noqa: RUF012 (a NamedTuple's default, never written to)
    """What is observed in place of `arrays`, where it differs from what is decoded."""
    references: References | None = None
    """Once a memory is learned: which records these are, and what they remember."""
    targets: dict[str, Tensor] = {}  # noqa: RUF012 (as above)
    """Of each target that is decoded (B, K), in its unit; NaN where it was not recorded."""
    share: Share | None = None
    """Which rows of the step's batch these are; None: all of them."""
    mixed: Mixed | None = None
    """Where whether sensors belong together is learned: what of them is another record's."""


def read_at_random(
    arrays: Mapping[str, NDArray[Any]], memory_bytes: int | None = None
) -> dict[str, NDArray[Any]]:
    """Return the arrays; of files that do not fit into half of the memory, other maps of them.

    Of those the system reads the pages that a batch asks for and none around them. It reads 2.6 MB
    ahead for a record of 29 kB otherwise, which is gone before it is asked for. Files that fit are
    better read ahead. Whoever reads the given arrays in order still does so quickly.

    Args:
        arrays: Those that are no memory map of a whole array stay as they are.
        memory_bytes: Of the machine, by default.
    """
    if memory_bytes is None:
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    maps = {name: cast("np.memmap[Any, Any]", a) for name, a in arrays.items() if _is_map(a)}
    given = dict(arrays)
    if 2 * sum(a.nbytes for a in maps.values()) <= memory_bytes:
        return given
    for name, a in maps.items():
        again = np.memmap(str(a.filename), a.dtype, "r", a.offset, a.shape)
        if isinstance(again.base, mmap.mmap) and hasattr(mmap, "MADV_RANDOM"):
            again.base.madvise(mmap.MADV_RANDOM)
            given[name] = again
    return given


def _is_map(array: NDArray[Any]) -> bool:
    whole = isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)
    return whole and bool(array.flags.c_contiguous)


def gather(arrays: Mapping[str, NDArray[Any]], index: NDArray[np.int64]) -> dict[str, Tensor]:
    """Return the records `index` (B,) of every modality, copied out of the memory maps."""
    return {name: torch.from_numpy(np.ascontiguousarray(a[index])) for name, a in arrays.items()}


@dataclass(frozen=True)
class BatchOrder:
    """The records of each step: a permutation per epoch, cut into whole batches."""

    index: NDArray[np.int64]
    """Records of the training split."""
    batch_size: int
    """Records per step, over all devices; at most len(index)."""
    seed: int
    stream: int = SHUFFLE_STREAM
    """Of the permutations' random numbers."""

    @property
    def steps_per_epoch(self) -> int:
        return len(self.index) // self.batch_size

    def records(self, step: int) -> NDArray[np.int64]:
        """Return the records (B,) of one step, counted from 0 over the whole run.

        The remainder of an epoch is left out; another permutation leaves out other records.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        permutation = _permutation(self.seed, self.stream, epoch, len(self.index))
        start = position * self.batch_size
        return self.index[np.sort(permutation[start : start + self.batch_size])]


@lru_cache(maxsize=4)
def _permutation(seed: int, stream: int, epoch: int, length: int) -> NDArray[np.int64]:
    return generator(seed, stream, epoch).permutation(length)


def batch_order(index: NDArray[np.int64], batch_size: int, seed: int) -> BatchOrder:
    """Return the order of a split; a split smaller than a batch is one batch.

    Raises:
        ConfigError: If there is no record at all.
    """
    if len(index) == 0:
        raise ConfigError("the training split holds no step: record more or change --data.held-out")
    return BatchOrder(np.asarray(index, np.int64), min(batch_size, len(index)), seed)


class StepStream(IterableDataset[Batch]):
    """The batches of one Lightning epoch, from the step where the trainer stands."""

    def __init__(
        self,
        episodes: Dataset,
        order: BatchOrder,
        first_step: Callable[[], int],
        shard: tuple[int, int] = (0, 1),
        binarise: Sequence[str] = (),
        proper: bool = False,
        augmenter: Augmenter | None = None,
        contexts: Contexts | None = None,
        stages: Stages | None = None,
        match_batches: int = 1,
        targets: Sequence[str] = (),
        pairing: Pairing | None = None,
    ) -> None:
        """Make the stream.

        Args:
            episodes: All records, of the model's sensors in the model's order.
            order: Records of each step.
            first_step: Called when an epoch starts; returns the number of steps already taken.
            shard: (rank, devices); every device takes its share of each batch.
            binarise: Modalities of grey levels whose pixels are drawn anew at every step, as
                Bernoulli(level / 255).
            proper: Draw proper subsets only, for objectives that also observe everything.
            augmenter: Changes what is observed; None = it is what was recorded.
            contexts: Draws what is remembered; None = nothing ever is.
            stages: When it is; from the first step on without.
            match_batches: Batches of each step of stage 'match'.
            targets: Names of those that are decoded.
            pairing: Draws what is mixed of two records; None = nothing ever is.
        """
        self._arrays = read_at_random(episodes.arrays)
        self._recorded = episodes.recorded
        self._order = order
        self._first_step = first_step
        self._rank, self._world = shard
        self._binarise, self._proper = tuple(binarise), proper
        self._augmenter, self._contexts, self._pairing = augmenter, contexts, pairing
        self._stages = stages or Stages(0)
        self._match_batches = match_batches
        self._told = {name: episodes.targets[name].values for name in targets}

    def __iter__(self) -> Iterator[Batch]:
        first = self._first_step()
        end = (first // self._order.steps_per_epoch + 1) * self._order.steps_per_epoch
        worker = torch.utils.data.get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in range(first + offset, end, stride):
            yield self.batch(step)

    def batch(self, step: int) -> Batch:
        """Return this device's share of the batch of `step`."""
        if self._contexts is not None and (stage := self._stages.of(step)) != "own":
            return self._remembering(step, self._contexts, decoded=stage == "tune")
        index = self._order.records(step)
        recorded, augmenter = self._recorded[index], self._augmenter
        if augmenter is not None:
            recorded = augmenter.left(index, recorded, step // self._order.steps_per_epoch)
        rng = generator(self._order.seed, SUBSET_STREAM, step)
        present = draw_subsets(recorded, rng, proper=self._proper)
        mine = slice(self._rank, None, self._world)
        arrays = self._targets(index, step)
        observed: dict[str, Tensor] = {}
        shard = (self._rank, self._world)
        if augmenter is not None:
            observed = augmenter.observed(index, recorded, arrays, step, shard)
        mixed = None
        if self._pairing is not None:
            mixed = self._pairing.mixed(index, recorded, present, step, shard)
        return Batch(
            arrays,
            _tensor(recorded[mine]),
            _tensor(present[mine]),
            observed,
            targets=gather(self._told, index[mine]),
            share=self._share(len(index)),
            mixed=mixed,
        )

    def _share(self, total: int) -> Share | None:
        return Share(self._rank, self._world, total) if self._world > 1 else None

    def _targets(self, index: NDArray[np.int64], step: int) -> dict[str, Tensor]:
        """Return what this device's share of the records `index` of a whole batch holds.

        Grey levels are drawn as pixels where that is asked for.
        """
        mine = np.arange(len(index)) % self._world == self._rank
        arrays = gather(self._arrays, index[mine])
        for name in self._binarise:
            rng = draws_of(generator(self._order.seed, PIXEL_STREAM, step, 0), mine)
            draws = rng.random(tuple(arrays[name].shape), dtype=np.float32) * np.float32(255.0)
            arrays[name] = (torch.from_numpy(draws) < arrays[name]).to(torch.uint8) * 255
        return arrays

    def _remembering(self, step: int, contexts: Contexts, *, decoded: bool) -> Batch:
        """Return a batch that remembers; its targets only where they are decoded."""
        if decoded:
            index = self._order.records(step)
        else:
            first = step * self._match_batches
            every = [self._order.records(first + number) for number in range(self._match_batches)]
            index = np.concatenate(every)
        recorded = self._recorded[index]
        rng = generator(self._order.seed, SUBSET_STREAM, step)
        drawn = contexts.draw(index, draw_subsets(recorded, rng, proper=self._proper), step)
        mine = slice(self._rank, None, self._world)
        remembered = {}
        for name, (record, owner, age_s) in drawn.remembered.items():
            of = owner % self._world == self._rank
            remembered[name] = Remembered(record[of], owner[of] // self._world, age_s[of])
        return Batch(
            self._targets(index, step) if decoded else {},
            _tensor(recorded[mine]),
            _tensor(drawn.present[mine]),
            references=References(index[mine], remembered),
            targets=gather(self._told, index[mine]) if decoded else {},
            share=self._share(len(index)),
        )


def _tensor(array: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def loader(stream: StepStream, workers: int, pin_memory: bool) -> DataLoader[Batch]:
    """Return a DataLoader that hands on the stream's ready-made batches in order."""
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        pin_memory=pin_memory,
        collate_fn=_as_it_is,  # numbers of records stay where they are used, on the CPU
        # Python 3.14 no longer forks by default; else all records would be pickled, maps as copies
        multiprocessing_context="fork" if workers else None,
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def fingerprint(episodes: Dataset) -> str:
    """Return a SHA-256 that tells one set of prepared episodes from another.

    Small arrays are hashed whole, large ones by 64 records spread over them.
    """
    digest = hashlib.sha256("\n".join(episodes.group_names).encode())
    arrays: dict[str, NDArray[Any]] = dict(episodes.arrays)
    arrays |= {"/group": episodes.group}
    if not episodes.recorded.all():  # complete records keep the digest that they always had
        arrays |= {"/recorded": episodes.recorded}
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        if array.nbytes > FINGERPRINT_WHOLE_BYTES:
            array = array[np.linspace(0, len(array) - 1, 64).astype(np.int64)]
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
