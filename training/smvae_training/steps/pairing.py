"""Whether all that is observed is of one moment: learned by mixing sensors of two records.

After Lee et al. 2020, "Making Sense of Vision and Touch", who ask it of all sensors at once; here
it is asked of the drawn subset. Nothing of it leaves training: the decoder is no part of the model.

R rows of the whole batch, B rows that this device has, M modality, Z latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.model.distributions import Noise
from smvae_core.model.objective import ElboTerms
from smvae_core.model.smvae import SMVAE
from smvae_core.model.targets import TargetDecoder, target_decoders
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Dataset
from smvae_training.augmenter import Augmenter
from smvae_training.config import PAIRING
from smvae_training.draws import draws_of
from smvae_training.steps.subsets import PAIRING_STREAM, generator


class Mixed(NamedTuple):
    """What differs from the batch in the mixed one, and which rows of it are mixed."""

    samples: dict[str, Tensor]
    """Per modality (n, *shape), prepared: of other records of the batch."""
    rows: dict[str, Tensor]
    """Per modality (n,): the rows whose sample each of them replaces."""
    together: Tensor
    """(B, 1) 1 of one moment, 0 mixed; NaN where fewer than two sensors are observed."""


class Drawn(NamedTuple):
    """Which sensor of each row is another record's."""

    sensor: NDArray[np.int64]
    """(R,) -1 where none is."""
    partner: NDArray[np.int64]
    """(R,) the row whose sample it is."""
    together: NDArray[np.float32]
    """(R, 1) as of `Mixed`."""


def draw_mixed(
    recorded: NDArray[np.bool_], present: NDArray[np.bool_], rng: np.random.Generator
) -> Drawn:
    """Mix half of the rows: one observed sensor, each as likely, is that of another row.

    Args:
        recorded: (R, M) what each row holds.
        present: (R, M) what is observed of it.
        rng: Source of randomness.
    """
    size, count = present.shape
    key = rng.random((size, count))
    sensor = np.where(present, key, -1.0).argmax(axis=1)
    mixed = rng.permutation(size) < size // 2
    place = rng.random((size,))
    partner, asked = np.arange(size), present.sum(axis=1) > 1
    for number in range(count):
        holding = np.flatnonzero(recorded[:, number])
        rows = np.flatnonzero(asked & (sensor == number))
        if len(holding) < 2:
            asked[rows] = False
            continue
        further = 1 + (place[rows] * (len(holding) - 1)).astype(np.int64)  # never back at itself
        at = np.searchsorted(holding, rows)
        partner[rows] = holding[(at + further) % len(holding)]
    together = np.full((size, 1), np.nan, np.float32)
    together[asked, 0] = ~mixed[asked]
    return Drawn(np.where(asked & mixed, sensor, -1), partner, together)


class Pairing:
    """Draws what is mixed of each batch, keyed by (seed, step)."""

    def __init__(self, data: Dataset, seed: int, augmenter: Augmenter | None = None) -> None:
        """Keep where samples come from.

        Args:
            data: All records, of the model's sensors in the model's order.
            seed: The run's.
            augmenter: Changes what is observed, also of a record that is mixed in.
        """
        self._names = [m.name for m in data.sensors]
        self._arrays, self._seed, self._augmenter = data.arrays, seed, augmenter

    def mixed(
        self,
        index: NDArray[np.int64],
        recorded: NDArray[np.bool_],
        present: NDArray[np.bool_],
        step: int,
        shard: tuple[int, int] = (0, 1),
    ) -> Mixed:
        """Return what is mixed of this device's share of a batch.

        Args:
            index: (R,) records of the whole batch.
            recorded: (R, M) what they hold.
            present: (R, M) what is observed.
            step: Of the run.
            shard: (rank, devices): this device has rows rank, rank + devices, ...
        """
        rank, devices = shard
        drawn = draw_mixed(recorded, present, generator(self._seed, PAIRING_STREAM, step))
        samples: dict[str, Tensor] = {}
        rows: dict[str, Tensor] = {}
        for number, name in enumerate(self._names):
            changed = np.flatnonzero(drawn.sensor == number)
            mine = changed % devices == rank
            if not mine.any():
                continue
            found = self._samples(number, index[drawn.partner[changed]], mine, step)
            samples[name] = torch.from_numpy(np.ascontiguousarray(found))
            rows[name] = torch.from_numpy(changed[mine] // devices)
        together = np.ascontiguousarray(drawn.together[rank::devices])
        return Mixed(samples, rows, torch.from_numpy(together))

    def _samples(
        self, number: int, taken: NDArray[np.int64], mine: NDArray[np.bool_], step: int
    ) -> NDArray[Any]:
        if self._augmenter is None:
            return np.asarray(self._arrays[self._names[number]][taken[mine]])
        rng = draws_of(generator(self._seed, PAIRING_STREAM, step, 1 + number), mine)
        return self._augmenter.samples(number, taken[mine], rng)


def pairing_decoder(latent_dim: int) -> TargetDecoder:
    """Return what decodes from a latent whether its sensors belong together."""
    target = DecodedTarget(name=PAIRING, mean=(0.5,), deviation=(0.5,), binary=True)
    decoder = target_decoders([target], latent_dim)[PAIRING]
    assert isinstance(decoder, TargetDecoder)
    return decoder


def add_pairing(
    terms: ElboTerms,
    model: SMVAE,
    decoder: TargetDecoder,
    batch: Mapping[str, Tensor],
    present: Bool[Tensor, "B M"],
    together: Float[Tensor, "B 1"],
    weight: float,
    noise: Noise = None,
) -> ElboTerms:
    """Return the terms of a batch with the likelihood of what is mixed in its loss.

    Args:
        terms: Of the batch as it is; but for the loss they stay.
        model: The model, which encodes the mixed batch beside.
        decoder: See `pairing_decoder`.
        batch: Network inputs (B, *shape) by name, mixed.
        present: What is observed.
        together: As of `Mixed`.
        weight: Of the log likelihood.
        noise: Of the latents.
    """
    told = together.isfinite().all(1).nonzero().squeeze(1)
    if not len(told):
        return terms
    z = model.encode(batch, present).rsample(noise)
    likelihood, learned = decoder.log_likelihood(together[told], z[told])
    return replace(
        terms,
        loss=terms.loss - weight * learned.sum() / len(present),
        log_likelihood={**terms.log_likelihood, PAIRING: likelihood.detach().mean()},
        rows={**terms.rows, PAIRING: len(told)},
    )
