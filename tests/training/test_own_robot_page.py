"""docs/own_robot.md: its commands run, one after another, on small recordings."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from smvae_core.bundle import Bundle
from smvae_training.cli import main
from tests.datasets.lerobot_folders import write_v21
from tests.datasets.recorded import MS, START_NS, motion, write_bag

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/own_robot.md").read_text(encoding="utf-8")
MOBILE = REPOSITORY.parent / "shared/data/bags/robot_localization_test1.bag"
#: What makes a training take seconds.
SMALL = (
    *("--max-steps", "2", "--no-report", "--log.no-tensorboard", "--data.held-out", "0.34"),
    *("--model.base-channels", "4", "--model.embedding-dim", "32", "--model.latent-dim", "8"),
)


def commands(heading: str) -> list[list[str]]:
    section = PAGE.partition(f"## {heading}")[2].partition("\n## ")[0]
    return [shlex.split(line)[1:] for line in re.findall(r"^smvae .+$", section, flags=re.M)]


def run(heading: str, count: int) -> None:
    found = commands(heading)
    assert len(found) == count
    for words in found:
        assert main([*words, *(SMALL if words[0] == "train" else ())]) == 0, words


@pytest.mark.skipif(not importlib.util.find_spec("av"), reason="LeRobot's videos need av")
def test_a_lerobot_folder_becomes_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_v21(Path("g1"), (30, 30, 30))
    run("A humanoid", 5)
    robot = Bundle.load("bundle").manifest.robot
    assert robot is not None
    assert {s.modality.kind for s in robot.sensors} >= {"color_image", "joint_state"}


def test_a_real_mobile_robot_becomes_a_bundle_without_a_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not MOBILE.exists():
        pytest.skip(f"no real recording {MOBILE}")
    monkeypatch.chdir(tmp_path)
    Path(MOBILE.name).symlink_to(MOBILE)
    run("A mobile robot", 4)
    modalities = Bundle.load("mobile_bundle").manifest.modalities
    assert {m.name: m.kind for m in modalities} == {
        "fix": "vector",
        "odom": "vector",
        "imu": "signal",
    }


def test_a_bag_becomes_a_bundle_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bag(Path("bag"), [m for k in range(3) for m in motion(1.5, START_NS + k * 4_000 * MS, k)])
    run("The simulated robot", 7)
    assert Path("arm_report/report.html").is_file()
