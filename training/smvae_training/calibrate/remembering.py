"""Posteriors with memory of held-out records, as a robot has them.

All samples of the horizon are remembered, and sensors are lost for random times, as in training
(`steps/contexts.py`). N held-out record, B batch, M modality, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from smvae_core.modality import all_subsets
from smvae_core.model.distributions import Posterior
from smvae_core.model.memory.context import Elements
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics
from smvae_datasets.dataset import Dataset, Target
from smvae_training.config import ContextConfig
from smvae_training.evaluate.records import spread
from smvae_training.steps.contexts import Contexts, Drawn
from smvae_training.steps.embedded import embed_records
from smvae_training.steps.normalise import BatchNormaliser

#: Reference times, and how many of them at once: each remembers some hundred samples.
REFERENCES, CHUNK = 1500, 64
SEED = 3
#: What a robot remembers: every sample, until a sensor is lost.
WHOLE = ContextConfig(
    share=1.0,
    calm=0.25,
    late=0.0,
    absent=0.0,
    burst=0.0,
    history_s=1.0,
    thinning=1.0,
    jitter_s=0.0,
    elements=100_000,
)


@dataclass(frozen=True)
class Recalled:
    """Posteriors with memory that rest on the same sensors."""

    subset: tuple[str, ...]
    """What they rest on: sensors that are there, or are remembered."""
    record: NDArray[np.int64]
    """(R,) records of the data set that they answer for."""
    posterior: Posterior
    targets: Mapping[str, Target]
    """What was recorded then."""


@torch.inference_mode()
def recall(
    model: SMVAE,
    statistics: Mapping[str, Statistics],
    data: Dataset,
    index: NDArray[np.int64],
    config: ContextConfig = WHOLE,
) -> Iterator[Recalled]:
    """Yield posteriors of held-out records `index`, for each subset that they may rest on.

    Args:
        model: One with a memory.
        statistics: Of its training records.
        data: All records.
        index: Held out; only they are remembered.
        config: How sensors are lost.

    Raises:
        DataSetError: If no record has an earlier one within the horizon.
    """
    memory = model.config.memory
    assert memory is not None, "only a model with a memory recalls"
    contexts = Contexts(data, index, config, memory.horizon_s, SEED)
    normaliser = BatchNormaliser(model.config.modalities, statistics, True)
    every = embed_records(model.eval(), normaliser, data, index, torch.device("cpu"))
    embeddings = torch.cat([found for *_, found in every])
    row = np.full(len(data), -1, np.int64)
    row[index] = np.arange(len(index))
    chosen = spread(index, REFERENCES)
    batches = [chosen[i : i + CHUNK] for i in range(0, len(chosen), CHUNK)]
    drawn = [contexts.draw(batch, data.recorded[batch], i) for i, batch in enumerate(batches)]
    for subset in all_subsets(model.names):
        records, parts = [], []
        for batch, context in zip(batches, drawn, strict=True):
            rows, present, elements = _resting_on(model.names, subset, context, embeddings, row)
            if len(rows):
                at = torch.from_numpy(row[batch[rows]])
                parts.append(model.posterior(embeddings[at], present, elements))
                records.append(batch[rows])
        if parts:
            mean, log_var = (torch.cat([getattr(q, a) for q in parts]) for a in ("mean", "log_var"))
            record = np.concatenate(records)
            targets = {name: t.take(record) for name, t in data.targets.items()}
            yield Recalled(subset, record, Posterior(mean, log_var), targets)


def _resting_on(
    names: tuple[str, ...],
    subset: tuple[str, ...],
    drawn: Drawn,
    embeddings: torch.Tensor,
    row: NDArray[np.int64],
) -> tuple[NDArray[np.int64], torch.Tensor, Elements]:
    """Return which of a batch rest on `subset`, what is present of them, what they remember."""
    wanted = np.array([name in subset for name in names])
    present = drawn.present & wanted
    known = present.copy()
    for number, name in enumerate(names):
        known[drawn.remembered[name].owner, number] = wanted[number]
    rows = np.flatnonzero(present.any(axis=1) & (known == wanted).all(axis=1))
    place = np.full(len(present), -1, np.int64)
    place[rows] = np.arange(len(rows))
    found, owner, age_s = {}, {}, {}
    for name in subset:
        remembered = drawn.remembered[name]
        kept = place[remembered.owner] >= 0
        at = torch.from_numpy(row[remembered.record[kept]])
        found[name] = embeddings[at, names.index(name)]
        owner[name] = torch.from_numpy(place[remembered.owner[kept]])
        age_s[name] = torch.from_numpy(remembered.age_s[kept])
    return rows, torch.from_numpy(present[rows]), Elements(found, owner, age_s)
