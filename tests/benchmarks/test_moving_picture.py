"""README's moving picture: what each part shows, in which order, and that it may be shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

pytest.importorskip("smvae_datasets.simulation.engine", exc_type=ImportError)

from benchmarks.moving_picture import (
    FRAME_S,
    LAST_S,
    LINE,
    LOST,
    MARGIN,
    SIDE,
    Canvas,
    Panel,
    Trajectory,
    main,
    write,
)
from smvae_core.presets import vision_touch
from smvae_training.cli import main as smvae
from tests.training.told_runs import write_episodes

PICTURE = Path(__file__).resolve().parents[2] / "docs/losses.gif"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes, a run and a bundle with memory and targets, of a model that was hardly trained."""
    root = tmp_path_factory.mktemp("demo")
    (root / "episodes").mkdir()
    write_episodes(root / "episodes", 0)
    words = ["--preset", "debug", "--data", str(root / "episodes"), "--no-report"]
    words += ["--data.held-out", "0.5", "--data.targets", "offset", "hole", "--max-steps", "6"]
    words += ["--model.memory", "1", "--model.pooling", "evidence"]
    run, bundle = str(root / "run"), str(root / "bundle")
    assert smvae(["train", "--out", run, *words]) == 0
    assert smvae(["export", run, bundle]) == 0
    return root


def given(root: Path, out: Path) -> list[str]:
    return [str(root / name) for name in ("run", "bundle", "episodes")] + [str(out)]


def red(frame: np.ndarray) -> int:
    """Count the pixels of the lamps that say 'lost'."""
    return int((frame[LINE : 2 * LINE] == LOST).all(axis=-1).sum())


def test_the_parts_follow_each_other_and_lamps_say_what_is_lost(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gif"
    assert main([*given(demo, out), "--attempts", "3", "--seed", "5"]) == 0
    with Image.open(out) as picture:
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(picture)]
        assert picture.info["loop"] == 0
    # 50 steps of 50 ms: all alive for 1.5 s, then RGB lost; the first part ends with them
    count = round(1.5 / FRAME_S)
    assert red(frames[0]) == red(frames[count - 1]) == 0
    assert red(frames[count]) > 0
    assert max(red(f) for f in frames) > 1.5 * red(frames[count])  # both cameras


def test_the_trajectory_is_the_first_that_was_held_out(demo: Path) -> None:
    trajectory = Trajectory(demo / "run", demo / "episodes")
    assert len({*trajectory.data.group[trajectory.records].tolist()}) == 1
    assert np.all(np.diff(trajectory.records) == 1)
    samples = trajectory.samples(0, ["rgb", "force"])
    assert set(samples) == {"rgb", "force"}
    assert samples["rgb"].dtype == np.uint8


def test_a_missing_run_is_one_line(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = given(demo, tmp_path / "a.gif")
    assert main([str(tmp_path), *words[1:]]) == 2
    err = capsys.readouterr().err
    assert err.startswith("moving_picture: ")
    assert err.count("\n") == 1


def test_pixels_stay_pixels_and_rest_stays(tmp_path: Path) -> None:
    canvas = Canvas(vision_touch(32))
    raw = np.zeros((32, 32, 3), np.uint8)
    raw[:, 16:] = (200, 30, 30)
    rgb = vision_touch(32)[0]
    canvas.add("title", [Panel("a", canvas.panel(rgb, raw)), Panel("b", None)], ["rgb"])
    canvas.rest()
    assert len(canvas.frames) == 1 + round(LAST_S / FRAME_S)
    panel = np.asarray(canvas.frames[0])[3 * LINE : 3 * LINE + SIDE, MARGIN : MARGIN + SIDE]
    assert np.array_equal(np.unique(panel.reshape(-1, 3), axis=0), [[0, 0, 0], [200, 30, 30]])
    write(canvas.frames, tmp_path / "a.gif")
    assert (tmp_path / "a.gif").stat().st_size < 20_000


def test_the_picture_of_the_readme_moves_and_is_small() -> None:
    assert PICTURE.stat().st_size < 3e6
    with Image.open(PICTURE) as picture:
        assert picture.n_frames > 60
        assert picture.info["duration"] == round(1e3 * FRAME_S)
