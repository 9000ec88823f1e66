"""Two processes train what one trains: the same losses, and again after one of them was killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.many_machines.compare import JobFailed, compare, play
from benchmarks.many_machines.job import Case
from benchmarks.many_machines.report import section
from benchmarks.turns.machine import machine
from tests.training.told_runs import write_episodes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episodes(tmp_path_factory.mktemp("episodes"), 0)


def test_two_machines_of_torchrun_train_as_one_and_go_on_after_one_was_killed(
    data: Path, tmp_path: Path
) -> None:
    """9 records are 5 and 4; a memory is learned too, and the second worker dies meanwhile."""
    shared = {"batch_size": 9, "augment": True, "steps": 3, "memory": True}
    one = Case(out=str(tmp_path / "one"), data=str(data), **shared)  # type: ignore[arg-type]
    two = replace(one, out=str(tmp_path / "two"), starter="two torchruns", lost_at=5)
    one.run()
    said = play(two)
    assert Path(f"{two.out}.lost").exists()
    assert "one of 2 devices that torchrun started" in said
    found = compare(one, two)
    assert max(found["largest_relative_difference"].values()) < 1e-4
    assert found["weights_relative_difference"] < 1e-4
    assert len(np.unique(found["losses"])) == one.total_steps == 6


def test_runs_of_other_steps_are_not_compared(data: Path, tmp_path: Path) -> None:
    none = Case(out=str(tmp_path / "one"), data=str(data))
    Path(none.out).mkdir()
    with pytest.raises(JobFailed, match=r"steps of .*one: \[\]"):
        compare(none, replace(none, out=str(tmp_path / "two")))


def test_the_table_says_which_run_missed(tmp_path: Path) -> None:
    def told(loss: float) -> dict[str, Any]:
        differences = {"loss": loss, "kl": 0.0}
        return {
            "losses": [2.0, 1.0],
            "other_losses": [2.0, 1.5],
            "largest_relative_difference": differences,
            "weights_relative_difference": 1e-6,
        }

    comparisons = {
        "BatchNorm frozen": {"torchrun": told(2e-5), "ray": told(2e-4)},
        "BatchNorm of each worker's rows": {"torchrun": told(0.1)},
    }
    about = {"preset": "demo", "batch_size": 32, "steps": 2, "machine": machine()}
    assert section(tmp_path).endswith("Not run yet.")
    (tmp_path / "many-machines.json").write_text(json.dumps(about | {"comparisons": comparisons}))
    text = section(tmp_path)
    assert "| BatchNorm frozen | torchrun | 2.0e-05 | 1.0e-06 | 1.0 / 1.5 | met |" in text
    assert "| BatchNorm frozen | ray | 2.0e-04 | 1.0e-06 | 1.0 / 1.5 | **missed** |" in text
    assert "rows | torchrun | 1.0e-01 | 1.0e-06 | 1.0 / 1.5 | no target |" in text
