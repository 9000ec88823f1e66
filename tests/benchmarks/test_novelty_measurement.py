"""The measurement of the novelty score: faults are what they are called, tables complete."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suspects.novelty import (
    EVERY,
    FAULTS,
    RESULTS,
    STEP_S,
    faulty,
    markdown,
    measure,
    records_of,
)
from smvae_core.modality import all_subsets, subset_name
from smvae_core.presets import vision_touch
from smvae_training.evaluate.records import Records
from smvae_training.run import load_run
from tests.training.told_runs import folder, trained  # noqa: F401

GROUP = np.repeat(np.arange(2, dtype=np.int32), 30)


def records() -> Records:
    prepared = {m.name: m.example(len(GROUP)) for m in vision_touch(32)}
    prepared["rgb"] = (255 * prepared["rgb"]).astype(np.uint8)
    return Records(prepared=prepared, group=GROUP)


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n, fs in FAULTS.items() for f in fs])
def test_a_fault_changes_its_own_sensor_alone(name: str, fault: str) -> None:
    before = records()
    after = faulty(before, name, FAULTS[name][fault], seed=0)
    for other in before.prepared:
        same = np.array_equal(before.prepared[other], after.prepared[other])
        assert same == (other != name), other
    assert after.prepared[name].dtype == before.prepared[name].dtype
    assert after.prepared[name].shape == before.prepared[name].shape


def test_frozen_images_are_of_the_same_episode_and_swapped_ones_of_another() -> None:
    before = records()
    images = before.prepared["rgb"]
    frozen = faulty(before, "rgb", FAULTS["rgb"]["frozen 2 s ago"], 0).prepared["rgb"]
    delay = records_of(2.0)
    assert delay * EVERY * STEP_S == 2.0
    np.testing.assert_array_equal(frozen[delay:30], images[: 30 - delay])
    np.testing.assert_array_equal(frozen[30 : 30 + delay], images[30 : 30 + delay])
    swapped = faulty(before, "rgb", FAULTS["rgb"]["another cell's"], 0).prepared["rgb"]
    for row, image in enumerate(swapped):
        source = next(i for i in range(len(images)) if np.array_equal(images[i], image))
        assert GROUP[source] != GROUP[row]


def test_the_measurement_covers_every_subset(trained: Path, folder: Path) -> None:  # noqa: F811
    results = measure(load_run(trained), folder, folder, folder)
    names = ("rgb", "depth", "force", "action")
    everything = [subset_name(s) for s in all_subsets(names)]
    assert list(results["false_alarms"]) == everything
    assert list(results["other_labs"]) == everything
    for name, faults in results["faults"].items():
        for shares in faults.values():
            assert list(shares) == [s for s in everything if name in s.split("+")]
            assert all(0.0 <= v["error"] <= v["warn"] <= 1.0 for v in shares.values())
    assert results["faults"]["rgb"]["blank"]["rgb+depth+force+action"]["error"] > 0.9
    lines = markdown(results).splitlines()
    assert len(lines) == 2 + len(names) + sum(map(len, FAULTS.values())) + 1


def test_the_document_shows_the_table_of_the_results() -> None:
    page = Path(__file__).parents[2] / "docs" / "novelty.md"
    table = page.read_text().partition("<!-- novelty table -->\n")[2].partition("\n<!-- end -->")[0]
    assert table == markdown(json.loads(RESULTS.read_text()))
