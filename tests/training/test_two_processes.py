"""Two processes that write to one folder: the second says so, and costs the first nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from smvae_core.files import alone_in
from smvae_core.robot import read_robot
from smvae_datasets.dataset import DataSetError
from smvae_datasets.recordings.build import build_episodes
from smvae_training.cli import main
from tests.datasets.recorded import ROBOT, motion, write_bag
from tests.training.told_runs import write_episodes

SAID = "another process writes to it: wait for that, or give another --out"


def test_a_second_conversion_leaves_the_parts_of_the_first_alone(tmp_path: Path) -> None:
    (tmp_path / "robot.yaml").write_text(ROBOT)
    bag, out = write_bag(tmp_path / "bag", motion(0.6)), tmp_path / "out"
    part = out / ".bag.1.part"
    part.mkdir(parents=True)
    (out / "episodes.json").touch()
    robot = read_robot(tmp_path / "robot.yaml")
    with alone_in(out, ValueError), pytest.raises(DataSetError, match=SAID):
        build_episodes([bag], robot, out, progress=False)
    assert part.is_dir()
    assert build_episodes([bag], robot, out, progress=False)["episodes"] == 1
    assert not part.exists(), "what a process that ended has left"


@pytest.mark.parametrize("how", [[], ["--overwrite"], ["--resume"]])
def test_a_second_training_leaves_the_run_of_the_first_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    run, data = tmp_path / "run", write_episodes(_made(tmp_path / "data"), 0)
    train = ["train", "--preset", "debug", "--data", str(data), "--out", str(run), "--no-report"]
    train += ["--max-steps", "1"]
    if how:
        assert main(train) == 0
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with alone_in(run if how else _made(run), ValueError):
        assert main([*train, *how]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"smvae train: error: run {run}: {SAID}"
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert main([*train, *how]) == 0


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
