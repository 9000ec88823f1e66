from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smvae_core.errors import ConfigError
from smvae_datasets.splits import split

labels = st.lists(st.integers(-5, 30), min_size=30, max_size=200).filter(lambda x: len(set(x)) > 4)


@given(labels, st.floats(0.05, 0.5), st.sampled_from([0.0, 0.1, 0.3]), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_trajectories_stay_whole_and_every_sample_is_in_one_part(
    trajectory, held, validation, seed
):
    trajectory = np.array(trajectory)
    parts = split(trajectory, held_out=held, validation=validation, seed=seed)
    sides = [parts.train, parts.held_out, parts.validation]
    np.testing.assert_array_equal(np.sort(np.concatenate(sides)), np.arange(len(trajectory)))
    names = [set(trajectory[side]) for side in sides]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
    assert len(names[1]) == max(1, round(held * len(set(trajectory))))
    assert bool(names[2]) == (validation > 0)
    assert not parts.leaks


@given(labels, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_same_seed_gives_the_same_split_and_validation_leaves_held_out_alone(trajectory, seed):
    trajectory = np.array(trajectory)
    one, two = (split(trajectory, seed=seed) for _ in range(2))
    np.testing.assert_array_equal(one.train, two.train)
    np.testing.assert_array_equal(one.held_out, two.held_out)
    third = split(trajectory, seed=seed, validation=0.2)
    np.testing.assert_array_equal(one.held_out, third.held_out)


def test_seeds_differ_and_the_draw_is_pinned():
    trajectory = np.repeat(np.arange(10), 50)
    held = {tuple(np.unique(trajectory[split(trajectory, seed=s).held_out])) for s in range(20)}
    assert len(held) > 10
    assert np.unique(trajectory[split(trajectory, seed=0).held_out]).tolist() == [4, 6]


def test_a_split_by_sample_is_marked_as_leaking():
    trajectory = np.repeat(np.arange(4), 25)
    parts = split(trajectory, by="sample", held_out=0.3)
    assert parts.leaks
    assert (len(parts.train), len(parts.held_out)) == (70, 30)
    assert set(trajectory[parts.train]) & set(trajectory[parts.held_out])


def test_settings_that_cannot_be_used_are_refused():
    trajectory = np.repeat(np.arange(3), 50)
    with pytest.raises(ConfigError, match=r"expected by one of .*'given'.*, got 'file'"):
        split(trajectory, by="file")
    with pytest.raises(ConfigError, match=r"expected 0 < --data.held-out.*got 1.5"):
        split(trajectory, held_out=1.5)
    with pytest.raises(ConfigError, match=r"sum below 1, got 0.6 and 0.6"):
        split(trajectory, held_out=0.6, validation=0.6)
    with pytest.raises(ConfigError, match=r"1 trajectories leave a part empty.*at least 2"):
        split(np.zeros(50, int))
    with pytest.raises(ConfigError, match="0 samples leave a part empty"):
        split(np.zeros(0, int), by="sample")
    with pytest.raises(
        ConfigError, match=r"expected trajectory \(N,\) of integers, got \(3,\) float64"
    ):
        split(np.zeros(3))


def test_a_given_split_holds_out_the_test_part_and_validates_on_the_rest():
    part = np.array([0] * 50 + [1] * 10 + [0] * 40)
    parts = split(part, by="given", validation=0.1, names=("train", "test"))
    assert parts.held_out.tolist() == list(range(50, 60))
    assert len(parts.validation) == 10
    assert not set(parts.validation) & set(parts.held_out)
    assert sorted([*parts.train, *parts.validation, *parts.held_out]) == list(range(100))


def test_a_given_split_needs_a_test_part_and_something_to_train_on():
    part = np.zeros(10, np.int64)
    with pytest.raises(ConfigError, match="names no part 'test', it has train"):
        split(part, by="given", names=("train",))
    part[5:] = 1
    with pytest.raises(ConfigError, match="leaves no sample to train on"):
        split(part, by="given", validation=0.9, names=("train", "test"))
