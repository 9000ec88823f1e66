"""Batches that hold labelled records enough, where few records are labelled.

N records, B rows of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Dataset
from smvae_training.steps.data import BatchOrder
from smvae_training.steps.subsets import LABELLED_STREAM


@dataclass(frozen=True, kw_only=True)
class LabelledOrder(BatchOrder):
    """The records of each step, a share of them labelled; see `with_labelled`."""

    labelled: BatchOrder
    others: BatchOrder

    def records(self, step: int) -> NDArray[np.int64]:
        """Return the records (B,) of one step, none twice."""
        return np.sort(np.concatenate([self.labelled.records(step), self.others.records(step)]))

    def __str__(self) -> str:
        return (
            f"{len(self.labelled.index):,} of {len(self.index):,} training records have targets: "
            f"{self.labelled.batch_size} of the {self.batch_size} of each batch are drawn from them"
        )


def labelled_records(data: Dataset, targets: Sequence[DecodedTarget]) -> NDArray[np.bool_]:
    """Return which records (N,) tell any decoded target that was recorded.

    One is enough where several targets are recorded in different records. What was computed from
    the sensors does not count: nearly every record has it.
    """
    found = np.zeros(len(data), np.bool_)
    for target in targets:
        if not target.rule:
            found |= data.targets[target.name].known
    return found


def with_labelled(order: BatchOrder, labelled: NDArray[np.bool_], share: float) -> BatchOrder:
    """Return an order of which each batch holds at least `share` labelled records.

    The rule. Of N training records L are labelled. Where L / N is at least `share`, or L is 0, the
    order stays what it is. Else of the B rows of every batch

        h = min(ceil(share B), L, B - 1)

    are labelled and the others are not. Both are dealt from permutations of their own, each cut
    into whole parts of a batch. So no record is twice in a batch, and each record of either kind
    comes once in a pass over its kind (the remainder of a pass is left out, as in `BatchOrder`).
    Labelled records come again sooner than the others.

    A step is what it was: B rows, a function of seed and step. So the length of an epoch, N // B
    steps, stays too; in it about (1 - share) N unlabelled rows are seen. A resume, devices that
    share a batch, and contexts of a memory need nothing more. All stages of a run have this order.

    Args:
        order: Of all training records, as they come.
        labelled: (N',) True where a record of the data is labelled, see `labelled_records`.
        share: At least this part of a batch, in [0, 1); 0: as they come.
    """
    told = labelled[order.index]
    count, total, size = int(told.sum()), len(order.index), order.batch_size
    rows = min(math.ceil(share * size - 1e-9), count, size - 1)
    if not rows or count >= share * total:
        return order
    return LabelledOrder(
        order.index,
        size,
        order.seed,
        labelled=BatchOrder(order.index[told], rows, order.seed, LABELLED_STREAM),
        others=BatchOrder(order.index[~told], size - rows, order.seed),
    )
