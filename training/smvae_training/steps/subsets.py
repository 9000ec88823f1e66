"""Which modalities the model sees of each sample: a random non-empty subset, keyed by (seed, step).

B batch, M modality. Nothing here keeps a state, so a resumed run draws what the first would have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import EmptySubset
from smvae_core.subsets import evaluated_subsets

#: Streams of random numbers of one run; each use has its own, so that adding one moves no other.
SUBSET_STREAM, SHUFFLE_STREAM, NOISE_STREAM, PIXEL_STREAM, ROW_STREAM = 1, 2, 3, 4, 5
AUGMENT_STREAM, OUTAGE_STREAM, CONTEXT_STREAM, PAIRING_STREAM, LABELLED_STREAM = 6, 7, 8, 9, 10
DECODE_ON_STREAM = 11
#: Subsets from which functions of the presence vector are fitted; never more than half of all.
MOST_FITTED = 512


def generator(seed: int, stream: int, *keys: int) -> np.random.Generator:
    """Return a generator that depends on nothing but (seed, stream, keys)."""
    return np.random.default_rng([seed, stream, *keys])


def draw_subsets(
    recorded: NDArray[np.bool_], rng: np.random.Generator, *, proper: bool = False
) -> NDArray[np.bool_]:
    """Draw one non-empty subset per sample, uniform over the 2^M - 1 of what the record holds.

    A sample with k recorded modalities gets the k low bits of a number uniform in [1, 2^k - 1],
    dealt to its recorded modalities in order. The numbers of a batch are stratified: each is
    uniform, and together they fall as evenly as B numbers can, so that no batch happens to be
    blind more often than another.

    Args:
        recorded: (B, M) bool, True where the record holds the modality.
        rng: Source of randomness; what is drawn does not depend on what is recorded.
        proper: Never draw all that a record of two or more modalities holds.

    Returns:
        (B, M) bool, never True where `recorded` is False.

    Raises:
        EmptySubset: If a record holds no modality at all.
    """
    counts = recorded.sum(axis=1)
    if not counts.all():
        raise EmptySubset(f"record {int(np.argmin(counts))} of the batch holds none")
    choices = 2.0**counts - 1 - (proper & (counts > 1))
    size = len(recorded)
    uniform = (rng.permutation(size) + rng.random(size)) / size
    code = 1 + np.minimum(np.floor(uniform * choices), choices - 1).astype(np.int64)
    bit = np.cumsum(recorded, axis=1) - 1  # which bit of the code belongs to this modality
    return recorded & ((code[:, None] >> np.maximum(bit, 0)) & 1).astype(bool)


class Rows(NamedTuple):
    """R pairs of a record and a subset of what it holds."""

    record: NDArray[np.int64]
    """(R,)."""
    present: NDArray[np.bool_]
    """(R, M) subset."""


def fitted_subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the subsets from which functions of the presence vector are fitted."""
    return evaluated_subsets(names, most=min(MOST_FITTED, 2 ** (len(names) - 1)))


def subset_rows(recorded: NDArray[np.bool_], names: tuple[str, ...], count: int, seed: int) -> Rows:
    """Return about `count` pairs, as many of each of the `fitted_subsets`, records at random.

    Args:
        recorded: (N, M) True where the record holds the modality; of a subset what it holds counts.
        names: Of the M modalities.
        count: Number of pairs, less those of which nothing was recorded.
        seed: Of the draws.
    """
    subsets = fitted_subsets(names)
    each = min(len(recorded), max(1, count // len(subsets)))
    rng = generator(seed, ROW_STREAM)
    record = np.concatenate([rng.permutation(len(recorded))[:each] for _ in subsets])
    present = np.repeat(np.array([[n in s for n in names] for s in subsets]), each, axis=0)
    present = present & recorded[record]
    some = present.any(axis=1)
    return Rows(record[some], present[some])
