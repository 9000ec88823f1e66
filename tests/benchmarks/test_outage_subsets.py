"""What a memory costs where nothing is remembered, over every subset of one instant."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.outage.__main__ import settings
from benchmarks.outage.subsets import named, ratios
from benchmarks.robots import training_length
from benchmarks.robots.missing_records import errors, mean_ratio
from smvae_core.model.config import MemoryConfig
from smvae_training.presets import debug
from smvae_training.run import split_episodes
from tests.training.conftest import make_episodes
from tests.training.short_runs import run


def test_a_subset_is_worse_where_its_ratio_exceeds_one_by_a_standard_error() -> None:
    theirs = {"rgb": {"rgb": np.array([1.0, 2.0]), "force": np.array([4.0, 4.0])}}
    ours = {"rgb": {"rgb": np.array([1.1, 2.4]), "force": np.array([3.0, 5.2])}}
    found = ratios(ours, theirs)["rgb"]
    assert set(found) == {"rgb", "force", "all"}
    assert found["rgb"]["mean"] == pytest.approx(1.15)
    assert found["rgb"]["standard_error"] == pytest.approx(0.05)
    assert found["rgb"]["worse"]
    assert found["force"]["mean"] == pytest.approx(1.025)
    assert not found["force"]["worse"]
    assert found["all"]["mean"] == pytest.approx((4.1 / 5.0 + 7.6 / 6.0) / 2)


def test_both_benchmarks_mean_the_same_by_a_ratio_of_errors() -> None:
    ours, theirs = [1.1, 2.4, 0.3], [1.0, 2.0, 0.5]
    runs = {"planned": {"errors": {"same": {"rgb": theirs}}}}
    runs["longer"] = {"errors": {"same": {"rgb": ours}}}
    one = training_length.ratios(runs)["longer"]["same"]["rgb"]
    other = ratios({"rgb": {"rgb": np.array(ours)}}, {"rgb": {"rgb": np.array(theirs)}})
    each = np.array([1.1, 1.2, 0.6])
    expected = {"mean": each.mean(), "standard_error": each.std(ddof=1) / 3**0.5}
    assert one == pytest.approx(expected)
    assert other["rgb"]["rgb"] == pytest.approx(expected | {"worse": False})
    assert mean_ratio(ours, theirs) == one


def test_an_instant_is_given_by_name_and_folder() -> None:
    assert named("start=runs/a") == ("start", Path("runs/a"))
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=RUN"):
        named("runs/a")


def test_a_run_with_memory_is_scored_on_every_subset(tmp_path: Path) -> None:
    base, episodes = debug(), make_episodes(trajectories=6, steps=20)
    base = replace(base, data=replace(base.data, held_out=0.4))
    model = replace(base.model, pooling="evidence", memory=MemoryConfig(horizon_s=1.0))
    memory = run(replace(base, model=model, max_steps=3), episodes, tmp_path / "memory").root
    model = replace(model, memory=None)
    instant = run(replace(base, model=model, max_steps=3), episodes, tmp_path / "instant").root
    held_out = split_episodes(base, episodes).held_out
    ours, theirs = (errors(path, episodes, held_out) for path in (memory, instant))
    found = ratios(ours, theirs)
    assert set(found) == {"rgb", "depth"}
    assert all(len(subsets) == 16 for subsets in found.values())
    assert any(r["mean"] != 1.0 for r in found["rgb"].values())
    assert all(r["mean"] == 1.0 for r in ratios(theirs, theirs)["rgb"].values())


def test_the_later_stages_have_the_share_that_is_asked_for() -> None:
    stages = settings("memory", 1000, 0, later=0.15).stages(steps_per_epoch=1)
    assert (stages.own, stages.match, stages.tune) == (1000, 150, 150)
    assert settings("memory", 1000, 0).stages(1).match == 350
