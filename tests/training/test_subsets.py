"""Subsets: uniform, never empty, never of what was not recorded, and a function of (seed, step)."""

from __future__ import annotations

import numpy as np
import pytest

from smvae_core.errors import EmptySubset
from smvae_training.steps.subsets import SUBSET_STREAM, draw_subsets, generator


def codes(present: np.ndarray) -> np.ndarray:
    return (present << np.arange(present.shape[1])).sum(axis=1)


def test_all_15_subsets_are_equally_likely() -> None:
    present = draw_subsets(np.ones((60_000, 4), bool), generator(0, SUBSET_STREAM, 0))
    counts = np.bincount(codes(present), minlength=16)
    assert counts[0] == 0
    expected = 60_000 / 15
    chi_square = ((counts[1:] - expected) ** 2 / expected).sum()
    assert chi_square < 36.1  # 14 degrees of freedom, p = 0.001


def test_a_batch_holds_every_subset_as_often_as_its_size_allows() -> None:
    recorded = np.ones((100, 4), bool)
    batches = [draw_subsets(recorded, generator(0, SUBSET_STREAM, step)) for step in range(2000)]
    counts = np.stack([np.bincount(codes(batch), minlength=16)[1:] for batch in batches])
    assert counts.min() >= 5
    assert counts.max() <= 8
    first = np.bincount([codes(batch)[0] for batch in batches], minlength=16)[1:]
    chi_square = ((first - 2000 / 15) ** 2 / (2000 / 15)).sum()
    assert chi_square < 36.1, "each sample's own subset is uniform: 14 degrees of freedom, 0.001"


def test_subsets_are_uniform_over_what_was_recorded_and_never_more() -> None:
    recorded = np.tile(np.array([[True, False, True, False]]), (9000, 1))
    present = draw_subsets(recorded, generator(1, SUBSET_STREAM, 0))
    assert not present[:, [1, 3]].any()
    counts = np.bincount(codes(present), minlength=16)
    assert set(np.flatnonzero(counts)) == {1, 4, 5}
    assert counts[[1, 4, 5]].min() > 2800


def test_same_seed_and_step_give_same_subsets_and_another_step_others() -> None:
    recorded = np.ones((64, 4), bool)
    first = draw_subsets(recorded, generator(3, SUBSET_STREAM, 5))
    assert np.array_equal(first, draw_subsets(recorded, generator(3, SUBSET_STREAM, 5)))
    assert not np.array_equal(first, draw_subsets(recorded, generator(3, SUBSET_STREAM, 6)))


def test_a_record_of_nothing_is_refused() -> None:
    recorded = np.array([[True, True], [False, False]])
    with pytest.raises(EmptySubset, match="record 1 of the batch"):
        draw_subsets(recorded, generator(0, SUBSET_STREAM, 0))


def test_proper_subsets_never_hold_everything_and_stay_uniform():
    recorded = np.ones((60_000, 3), bool)
    recorded[:20_000, 2] = False
    drawn = draw_subsets(recorded, np.random.default_rng(0), proper=True)
    assert drawn.any(axis=1).all()
    assert not (drawn == recorded).all(axis=1).any()
    codes, counts = np.unique(drawn[20_000:] @ [1, 2, 4], return_counts=True)
    assert codes.tolist() == [1, 2, 3, 4, 5, 6]
    assert abs(counts / 40_000 - 1 / 6).max() < 0.01
    one = draw_subsets(np.eye(3, dtype=bool), np.random.default_rng(0), proper=True)
    assert (one == np.eye(3, dtype=bool)).all()
