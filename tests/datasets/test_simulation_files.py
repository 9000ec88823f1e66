"""`simulate`: files, resuming, workers, settings. Real physics and rendering; needs EGL."""

from __future__ import annotations

import json
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("smvae_datasets.simulation.engine", exc_type=ImportError)

from smvae_datasets.simulation.episodes import episode_files
from smvae_datasets.simulation.errors import SettingsMismatch, UnknownSetting
from smvae_datasets.simulation.options import SETTINGS_FILE
from smvae_datasets.simulation.predictability import position_r2
from smvae_datasets.simulation.simulate import SimulateOptions, SimulationSummary, simulate
from smvae_datasets.vision_touch.files import FIELDS, list_trajectories, read_attributes, read_file


@pytest.fixture(scope="module", autouse=True)
def _renderer() -> None:
    if find_library("EGL") is None:
        pytest.skip("libEGL is not installed: apt-get install libegl1 libgl1")


def options(out: Path, **changes: object) -> SimulateOptions:
    given = {"episodes": 2, "steps": 50, "workers": 1, "seed": 4, "progress": False} | changes
    return SimulateOptions(out=out, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SimulationSummary]:
    out = tmp_path_factory.mktemp("episodes")
    return out, simulate(options(out))


def test_the_files_are_whole_trajectories_in_the_layout(
    made: tuple[Path, SimulationSummary],
) -> None:
    out, summary = made
    trajectories = list_trajectories(out)
    assert [t.name for t in trajectories] == ["sim_s4_e0000", "sim_s4_e0001"]
    assert summary.episodes == 2
    assert summary.simulated_steps == 100
    assert summary.shares.keys() == {"free", "contact", "jammed", "inserted"}
    assert sum(summary.shares.values()) == pytest.approx(1)
    arrays = read_file(trajectories[0].files[0])
    assert set(arrays) == {field.name for field in FIELDS}
    attributes = read_attributes(trajectories[0].files[0])
    assert attributes["peg_shape"] in ("square", "triangle")
    assert attributes["step_s"] == 0.05
    assert np.shape(attributes["hole_pose"]) == (4,)
    assert len(attributes["condition"]) == 50


def test_settings_are_written_for_people(made: tuple[Path, SimulationSummary]) -> None:
    settings = json.loads((made[0] / SETTINGS_FILE).read_text())
    assert settings["seed"] == 4
    assert settings["episodes"] == 2
    assert settings["steps"] == 50
    assert settings["variation"] == "cell"


def test_two_workers_give_the_same_arrays_as_one(
    made: tuple[Path, SimulationSummary], tmp_path: Path
) -> None:
    simulate(options(tmp_path, workers=2))
    for episode in range(2):
        for one, two in zip(
            episode_files(options(made[0]), episode),
            episode_files(options(tmp_path), episode),
            strict=True,
        ):
            first, second = read_file(one), read_file(two)
            for name in first:
                np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_resuming_skips_what_is_finished_and_makes_what_is_missing(tmp_path: Path) -> None:
    both = options(tmp_path, steps=100)
    simulate(both)
    kept, lost = episode_files(both, 0)[0], episode_files(both, 1)[1]
    stamp, content = kept.stat().st_mtime_ns, read_file(lost)
    lost.unlink()
    remnant = tmp_path / ".sim_s4_e0001_1_1000.h5.123.part"
    remnant.write_bytes(b"half a file")
    assert simulate(both).simulated_steps == 100
    assert not remnant.exists()
    assert kept.stat().st_mtime_ns == stamp
    for name, array in read_file(lost).items():
        np.testing.assert_array_equal(array, content[name])
    assert simulate(both).simulated_steps == 0
    assert simulate(options(tmp_path, steps=100, episodes=3)).simulated_steps == 100


@pytest.mark.parametrize(
    "changes", [{"seed": 5}, {"variation": "wide"}, {"steps": 100}, {"episodes": 1}]
)
def test_a_folder_made_with_other_settings_is_refused(
    made: tuple[Path, SimulationSummary], changes: dict[str, object]
) -> None:
    name = next(iter(changes))
    with pytest.raises(
        SettingsMismatch, match=f"made with other settings: {name} .* there and .* now"
    ):
        simulate(options(made[0], **changes))


def test_a_folder_of_foreign_episodes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "triangle_0_1000.h5").write_bytes(b"")
    with pytest.raises(SettingsMismatch, match=r"dataset\.json .*triangle_0_1000\.h5"):
        simulate(options(tmp_path))


def test_broken_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("{")
    with pytest.raises(SettingsMismatch, match="contents"):
        simulate(options(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 70}, "steps is 70: expected a multiple of 50"),
        ({"episodes": 0}, "episodes is 0: expected 1 or more"),
        ({"workers": 0}, "workers is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"preset": "huge"}, "preset is 'huge': expected one of 'demo', 'vision_touch'"),
        ({"variation": "narrow"}, "variation is 'narrow': expected one of 'cell', 'wide'"),
    ],
)
def test_an_option_out_of_range_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UnknownSetting, match=message):
        options(tmp_path, **changes)


def test_presets_give_the_size_and_options_override_it(tmp_path: Path) -> None:
    demo = SimulateOptions(out=tmp_path)
    assert (demo.num_episodes, demo.num_steps) == (60, 250)
    real = SimulateOptions(out=tmp_path, preset="vision_touch", episodes=3)
    assert (real.num_episodes, real.num_steps) == (3, 1000)


def test_r2_is_high_where_force_and_action_tell_the_position(
    made: tuple[Path, SimulationSummary],
) -> None:
    files = [episode_files(options(made[0]), episode) for episode in (0, 0, 0, 0)]
    r2 = position_r2(files)  # held-out steps equal training steps: nearly all can be told
    assert r2["free"] > 0.8
