"""Targets' decoders learn on once the latent no longer changes: minutes of a training in seconds.

N records that tell a target, R pairs of a record and a subset, B pairs of a step, M modality,
Z latent.
"""

from __future__ import annotations

import copy
import logging
import math
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.model.smvae import SMVAE
from smvae_core.model.targets import TargetDecoder
from smvae_datasets.dataset import Dataset
from smvae_training.steps.embedded import embed_records
from smvae_training.steps.normalise import BatchNormaliser
from smvae_training.steps.subsets import DECODE_ON_STREAM, draw_subsets, generator

logger = logging.getLogger(__name__)

#: Pairs at most, and subsets of one record at most.
PAIRS, SUBSETS = 60_000, 16
#: How often a record comes at most: a few hundred would be learned by heart.
REPEATS = 400
#: Pairs of a step, and steps in which the learning rate rises; then it falls to zero.
BATCH, WARMUP = 256, 50
#: Highest learning rate.
LR = 3e-3


def decoding_on(
    model: SMVAE,
    normaliser: BatchNormaliser,
    data: Dataset,
    train: NDArray[np.int64],
    steps: int,
    seed: int,
) -> SMVAE:
    """Return the model with decoders of its targets that have learned on; all else is the same.

    In a step of training a decoder sees one subset of each labelled record, from networks that
    change under it. Here every weight but the decoders' is fixed. With m_r the mean of q(z|x_S) of
    a pair r of a labelled record and a subset of it, each decoder maximises

        mean over r of what `TargetDecoder.log_likelihood` trains of log p(y_r|m_r)

    by Adam. The mean takes the place of a sample: an estimate is decoded around it.

    Args:
        model: Trained; stays as it is.
        normaliser: Of the run.
        data: All records.
        train: Which of them are trained on. Those that tell no target are left out, and so many
            that a record comes once at least.
        steps: Of B pairs each; fewer where records would come more often than `REPEATS`.
        seed: Of the run.
    """
    start = time.perf_counter()
    model = copy.deepcopy(model).eval().requires_grad_(False)
    device = next(model.parameters()).device
    rng = generator(seed, DECODE_ON_STREAM)
    told = np.any([data.targets[name].known[train] for name in model.targets], axis=0)
    steps = min(steps, math.ceil(REPEATS * int(told.sum()) / BATCH))
    index = rng.permutation(train[told])[: min(PAIRS, steps * BATCH)]
    record, means = _posteriors(model, normaliser, data, np.sort(index), rng, device)
    values = {
        name: torch.from_numpy(data.targets[name].values[record]).float() for name in model.targets
    }
    _fit(model, means, {name: y.to(device) for name, y in values.items()}, steps, rng)
    logger.info(
        "decoders of targets learned on for %d steps from %d records in %.0f s",
        steps,
        len(index),
        time.perf_counter() - start,
    )
    return model


@torch.no_grad()
def _posteriors(
    model: SMVAE,
    normaliser: BatchNormaliser,
    data: Dataset,
    index: NDArray[np.int64],
    rng: np.random.Generator,
    device: torch.device,
) -> tuple[NDArray[np.int64], Tensor]:
    """Return the records (R,) of pairs and the means (R, Z) of their posteriors."""
    draws = max(1, min(SUBSETS, PAIRS // len(index)))
    record, means = [], []
    for part, recorded, embeddings in embed_records(model, normaliser, data, index, device):
        read = model.read(embeddings, recorded)
        for _ in range(draws):
            present = torch.from_numpy(draw_subsets(data.recorded[index[part]], rng)).to(device)
            record.append(index[part])
            means.append(model.combine(read, present).mean)
    return np.concatenate(record), torch.cat(means)


def _fit(
    model: SMVAE, means: Tensor, values: dict[str, Tensor], steps: int, rng: np.random.Generator
) -> None:
    """Fit the decoders to the values (R, K) of each target; a row with a NaN tells nothing."""
    model.targets.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.targets.parameters(), lr=LR, weight_decay=0.0, fused=True)
    for step in range(steps):
        rows = torch.from_numpy(rng.integers(len(means), size=BATCH)).to(means.device)
        learned = [means.new_zeros(())]
        for name, decoder in model.targets.items():
            assert isinstance(decoder, TargetDecoder)
            y = values[name][rows]
            told = y.isfinite().all(1)
            if told.any():
                learned.append(decoder.log_likelihood(y[told], means[rows[told]])[1].mean())
        rise = min(1.0, (step + 1) / WARMUP)
        optimizer.param_groups[0]["lr"] = LR * rise * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        (-torch.stack(learned).sum()).backward()
        optimizer.step()
    model.targets.requires_grad_(False)
