"""What preset `robot` reaches in its planned steps: the measurement, and figures of the pages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robots.training_length import (
    MODERATE,
    RESULTS,
    another_day,
    begun,
    measure,
    ratios,
)
from smvae_core.errors import ConfigError
from smvae_training.presets import debug
from tests.training.conftest import make_episodes

PAGES = Path(__file__).resolve().parents[2] / "docs/decisions"


def test_a_run_is_scored_by_trajectory_on_what_it_has_not_seen() -> None:
    data, unseen = make_episodes(trajectories=5), make_episodes(trajectories=3, steps=8)
    found = measure(replace(debug(), max_steps=1, augment=MODERATE), data, unseen)
    assert set(found) == {"same", "another day"}
    assert [len(errors) for errors in found["same"].values()] == [3, 3]
    assert found["same"] != found["another day"]
    changed = another_day(unseen)
    assert (changed.arrays["rgb"] < unseen.arrays["rgb"]).any()
    assert np.array_equal(changed.arrays["action"], unseen.arrays["action"])


def test_ratios_are_paired_by_trajectory() -> None:
    runs = {
        "planned": {"errors": {"same": {"rgb": [1.0, 2.0]}}},
        "longer": {"errors": {"same": {"rgb": [0.5, 1.5]}, "another day": {"rgb": [1.0, 1.0]}}},
    }
    found = ratios(runs)["longer"]
    assert set(found) == {"same"}
    assert found["same"]["rgb"]["mean"] == pytest.approx(0.625)


def test_runs_of_other_settings_stay_apart(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    about = {"side": 32, "settings": ["latent: 64"]}
    assert begun(out, about) == {**about, "runs": {}}
    out.write_text(json.dumps({**about, "runs": {"planned": {"steps": 2}}}))
    assert begun(out, about)["runs"] == {"planned": {"steps": 2}}
    with pytest.raises(ConfigError, match="holds runs of other side: give another --out"):
        begun(out, about | {"side": 64})


def test_the_pages_say_what_the_results_say() -> None:
    for page, file, above, below in (
        ("robot-preset.md", RESULTS, "planned", "longer"),
        ("robot-preset.md", RESULTS.with_name("training_length_64.json"), "planned", "longer"),
        ("augmentation.md", RESULTS, "augmented", "planned"),
    ):
        runs = json.loads(file.read_text(encoding="utf-8"))["runs"]
        text = (PAGES / page).read_text(encoding="utf-8")
        for image, name in (("rgb", "RGB"), ("depth", "depth")):
            one, other = (np.array(runs[run]["errors"]["same"][image]) for run in (above, below))
            ratio = one / other
            error = ratio.std(ddof=1) / np.sqrt(len(ratio))
            assert f"| {name} | {ratio.mean():.3f} ± {error:.3f} |" in text
