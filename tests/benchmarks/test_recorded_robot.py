"""The recorded form of simulated trajectories: the same steps, but for the wrench's rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.robots.recorded_robot import convert, rises, summary
from smvae_core.presets import vision_touch
from smvae_datasets.recordings.folder import read_declaration
from smvae_datasets.recordings.prepared import prepare_recordings
from smvae_datasets.vision_touch.prepared import prepare_episodes
from tests.frozen.episodes import write_episodes

REST = ("depth", "force", "action")


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three trajectories in each form."""
    folder = tmp_path_factory.mktemp("recorded")
    write_episodes(folder / "episodes")
    for path in (folder / "episodes").glob("t[345]_*.h5"):
        path.unlink()
    return convert(folder / "episodes", folder, 32)


def test_steps_by_the_camera_are_those_that_were_simulated(forms: dict[str, Path]) -> None:
    direct = prepare_episodes(forms["direct"], vision_touch(32), progress=False)
    sensors = read_declaration(forms["camera"]).modalities
    recorded = prepare_recordings(forms["camera"], sensors, progress=False)
    assert [n.partition("/")[0] for n in recorded.group_names] == list(direct.group_names)
    assert recorded.recorded.all()
    assert np.array_equal(recorded.group, direct.group)
    for name in ("rgb", "depth"):
        assert np.array_equal(recorded.arrays[name], direct.arrays[name])
    np.testing.assert_allclose(recorded.arrays["action"], direct.arrays["action"], rtol=1e-5)
    force, expected = recorded.arrays["force"], direct.arrays["force"]
    every_2_ms = np.s_[..., 1::2]
    np.testing.assert_allclose(force[every_2_ms], expected[every_2_ms], rtol=1e-5, atol=1e-6)


def test_a_rise_is_the_mean_ratio_over_subsets() -> None:
    errors = {"rgb": [1.0, 2.0], "depth": [1.0, 1.0], "force": [1.0, 1.0], "action": [1.0, 1.0]}
    direct = {"names": ["a", "b"], "errors": {"rgb": errors, "force": errors}}
    more = {**errors, "rgb": [1.5, 2.0]}
    recorded = {"names": ["a/0000", "b/0000"], "errors": {"rgb": more, "force": errors}}
    assert rises(direct, recorded)["rgb"].tolist() == [0.25, 0.0]
    with pytest.raises(SystemExit, match="other trajectories"):
        rises(direct, {**recorded, "names": ["a/0000", "c/0000"]})


def test_what_exceeds_two_standard_errors_is_no_chance() -> None:
    rng = np.random.default_rng(0)
    seeds = [
        {"rgb": rng.normal(0.0, 0.1, 8), **{n: 0.5 + rng.normal(0.0, 0.1, 8) for n in REST}}
        for _ in range(3)
    ]
    found = summary(seeds)
    assert found["rgb"]["within_chance"]
    assert not any(found[name]["within_chance"] for name in REST)
    assert summary(seeds[:1])["rgb"]["within_chance"]
