"""The comparison of training on complete records and on the same with holes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from benchmarks.robots.missing_records import SHARE, compare, with_holes
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


def test_seeds_that_were_trained_before_are_kept() -> None:
    data = make_episodes(trajectories=6, steps=12)
    config = replace(debug(), data=replace(debug().data, held_out=0.4), max_steps=2)
    (first,) = compare(config, data, [0])
    before = json.loads(json.dumps(first))
    (both,) = compare(config, data, [1], before=before)
    assert both["seeds"] == [0, 1]
    assert both["by_seed"]["0"] == first["by_seed"]["0"]
    means = [np.mean(row["mean"]["rgb"]) for row in both["by_seed"].values()]
    assert both["ratio"]["rgb"]["mean"] == np.float64(np.mean(means))
    (other,) = compare(replace(config, max_steps=1), data, [0], before=before)
    assert other["by_seed"]["0"] != first["by_seed"]["0"]
