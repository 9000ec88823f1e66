"""The outage benchmark of a recorded robot: what is paired, and samples that are missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.outage.__main__ import (
    AGES_S,
    Condition,
    Embedded,
    conditions,
    held_frames,
    newest,
    references,
    scores,
)
from benchmarks.outage.robot import spelled, verdict
from smvae_core.model.config import MemoryConfig
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.presets import debug
from smvae_training.run import Run, load_run
from tests.training.conftest import make_episodes
from tests.training.short_runs import run

CAMERAS, OTHERS = ("rgb", "depth"), ("force", "action")
#: A record without rgb, and one of the same episode after it.
HOLE, LATER = 61, 65


@pytest.fixture(scope="module")
def episodes() -> PreparedEpisodes:
    return make_episodes(trajectories=10, steps=80)


@pytest.fixture(scope="module")
def trained(episodes: PreparedEpisodes, tmp_path_factory: pytest.TempPathFactory) -> Run:
    base = debug()
    model = replace(base.model, pooling="evidence", memory=MemoryConfig(horizon_s=2.5))
    model = replace(model, decoded_noise=True)
    config = replace(base, model=model, max_steps=3)
    return load_run(run(config, episodes, tmp_path_factory.mktemp("runs")).root)


@pytest.fixture(scope="module")
def scored(trained: Run, episodes: PreparedEpisodes) -> tuple[list[Any], list[Any]]:
    untold = replace(episodes, targets={})
    return list(scores(trained, untold)), list(held_frames(untold, trained))


def test_the_verdict_pairs_memory_with_both_others(scored: tuple[list[Any], list[Any]]) -> None:
    rows, held = scored
    mean = {row["condition"]: row["errors"]["rgb"]["mean"] for row in (*rows, *held)}
    found = [row for row in verdict(rows, held, CAMERAS, OTHERS) if row["camera"] == "rgb"]
    assert [row["lost_s"] for row in found] == list(AGES_S)
    for row in found:
        ours = mean[f"rgb+depth lost for {row['lost_s']:g} s"]
        kept = mean[f"last frame held for {row['lost_s']:g} s"]
        assert row["memory"] == ours
        assert row["minus_last_frame_held"]["mean"] == pytest.approx(ours - kept)
        instant = row["minus_single_instant"]
        assert instant["mean"] == pytest.approx(ours - mean["force+action of now"])
        assert instant["standard_error"] > 0


@pytest.mark.parametrize(
    ("ours", "lost_s", "holds"),
    [(0.2, 0.25, True), (0.2, 0.5, False), (0.05, 0.5, True), (0.9, 2.0, False)],
)
def test_a_short_loss_need_not_beat_the_last_frame(ours: float, lost_s: float, holds: bool) -> None:
    def row(name: str, error: float) -> dict[str, Any]:
        each = [error, error + 0.01]
        return {
            "condition": name,
            "age_s": float(name.split()[-2]) if name.endswith(" s") else 0.0,
            "errors": {"eye": {"mean": error, "by_trajectory": each}},
        }

    rows = [row("arm of now", 0.8), *(row(f"eye lost for {a:g} s", ours) for a in AGES_S)]
    held = [row(f"last frame held for {a:g} s", 0.1) for a in AGES_S]
    (found,) = (r for r in verdict(rows, held, ["eye"], ["arm"]) if r["lost_s"] == lost_s)
    assert found["holds"] is holds
    assert spelled(found).endswith("holds" if holds else "FAILS")


def test_no_target_is_asked_of_a_robot_without_one(scored: tuple[list[Any], list[Any]]) -> None:
    assert not any("offset_mm" in row for row in scored[0])


def test_a_robot_with_one_camera_is_scored_once_for_each_condition() -> None:
    found = [c.name for c in conditions(("arm", "eye"), ("eye",), 5.0)]
    assert len(set(found)) == len(found)


def test_a_missing_sample_is_neither_remembered_nor_asked_for(
    trained: Run, episodes: PreparedEpisodes
) -> None:
    recorded = np.array(episodes.recorded)
    recorded[HOLE, 0] = False
    rgb = np.array(episodes.arrays["rgb"])
    rgb[HOLE] = 255 - rgb[HOLE]
    before, after = (
        replace(episodes, recorded=recorded, arrays={**episodes.arrays, "rgb": x})
        for x in (np.array(episodes.arrays["rgb"]), rgb)
    )
    remembers = Condition(name="", present=OTHERS, remembered={"rgb": (0.0, 2.5)})
    at = np.array([LATER])
    first, second = (Embedded(trained, data).posterior(at, remembers) for data in (before, after))
    assert torch.equal(first.mean, second.mean)
    whole = Embedded(trained, episodes).posterior(at, remembers)
    assert not torch.equal(whole.mean, first.mean)
    assert HOLE in references(episodes, np.arange(70), 1)
    assert HOLE not in references(after, np.arange(70), 1)
    age_s = (LATER - HOLE) * 0.05
    assert newest(episodes, "rgb", LATER, age_s) == HOLE
    assert newest(after, "rgb", LATER, age_s) == HOLE - 1
