"""The choice of subsets where all of them would be too many."""

from __future__ import annotations

import pytest

from smvae_core.modality import all_subsets
from smvae_core.subsets import evaluated_subsets


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_few_sensors_have_all_their_subsets(count: int) -> None:
    names = tuple("abcdefgh"[:count])
    assert evaluated_subsets(names, seed=3) == all_subsets(names)


@pytest.mark.parametrize(("count", "total"), [(7, 64), (16, 64), (40, 97)])
def test_many_sensors_have_singles_all_but_one_all_and_drawn_ones(count: int, total: int) -> None:
    names = tuple(f"s{i}" for i in range(count))
    found = evaluated_subsets(names)
    assert len(found) == len(set(found)) == total
    assert {s for s in found if len(s) == 1} == {(name,) for name in names}
    assert sum(len(s) == count - 1 for s in found) == count
    assert found[-1] == names
    assert all(list(s) == sorted(s, key=names.index) for s in found)
    assert [len(s) for s in found] == sorted(len(s) for s in found)
    assert len({len(s) for s in found}) > 4  # of many sizes


def test_the_draws_follow_the_seed_alone() -> None:
    names = tuple(f"s{i}" for i in range(16))
    assert evaluated_subsets(names, 1) == evaluated_subsets(names, 1)
    assert evaluated_subsets(names, 1) != evaluated_subsets(names, 2)
