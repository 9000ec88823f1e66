"""The comparison of training on complete records and on the same with holes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.missing_records import SHARE, compare, with_holes
from smvae_training.presets import debug
from tests.training.conftest import make_episodes


def test_holes_follow_the_seed_and_leave_every_record_a_sensor() -> None:
    data = make_episodes(trajectories=50, steps=40)
    one, again, other = (with_holes(data, SHARE, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.recorded, again.recorded)
    assert not np.array_equal(one.recorded, other.recorded)
    assert one.recorded.any(axis=1).all()
    assert abs((~one.recorded).mean() - SHARE) < 0.02
    assert data.recorded.all()


def test_both_models_are_scored_on_complete_records() -> None:
    data = make_episodes(trajectories=6, steps=12)
    config = replace(debug(), data=replace(debug().data, held_out=0.4), max_steps=2)
    (found,) = compare(config, data, [0])
    assert set(found["ratio"]) == {"rgb", "depth"}
    assert len(found["ratio_by_subset"]["rgb"]) == 15
    assert 0.5 < found["ratio"]["rgb"]["mean"] < 2.0
    assert found["ratio"]["rgb"]["mean"] != 1.0
