"""From a robot's bag to a trained model by the commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from smvae_core.bundle import Bundle
from smvae_core.robot import read_robot
from smvae_training.cli import main
from smvae_training.commands.model import _of_preset
from smvae_training.foreground import BAD_INPUT
from smvae_training.presets import debug
from smvae_training.run import load_run
from smvae_training.trainer import train
from tests.datasets.recorded import MS, ROBOT, START_NS, motion, write_bag


def test_a_bag_becomes_episodes_and_those_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    declaration, out = tmp_path / "robot.yaml", tmp_path / "episodes"
    declaration.write_text(ROBOT)
    robot = read_robot(declaration)
    bag = write_bag(
        tmp_path / "bag", [m for k in range(3) for m in motion(1.0, START_NS + k * 4_000 * MS, k)]
    )
    command = ["episodes", str(bag), "--robot", str(declaration), "--out", str(out)]
    assert main([*command, "--dry-run"]) == 0
    assert not out.exists()
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 3
    config = _of_preset("robot", ["--data", str(out)])
    assert config.model.modalities == robot.modalities
    assert config.data.held_out == robot.episodes.held_out
    small = debug()
    small = replace(small, model=replace(small.model, modalities=robot.modalities), max_steps=2)
    run = load_run(train(small, out, tmp_path / "run"))
    assert run.record.step == 2
    assert len(run.record.held_out_trajectories) == 1
    assert main(["evaluate", str(run.path), "--data", str(out)]) == 0
    results = json.loads((run.path / "evaluation" / "results.json").read_text())
    messages = results["data"]["messages"]
    assert messages.keys() == {s.name for s in robot.sensors} | {t.name for t in robot.targets}
    summary = json.loads((out / "summary.json").read_text())["recordings"]["bag"]
    for name, found in messages.items():
        counted = (summary["sensors"] | summary["targets"])[name]
        assert found == {key: counted[key] for key in found}
        assert found["messages"] > 0
    html = (run.path / "evaluation" / "report.html").read_text()
    assert "What became of the messages" in html
    assert main(["export", str(run.path), str(tmp_path / "bundle")]) == 0
    assert Bundle.load(tmp_path / "bundle").manifest.robot == robot
    moved = tmp_path / "moved.yaml"
    moved.write_text(ROBOT.replace("robot: ", "robot: moved-"))
    export = ["export", str(run.path), str(tmp_path / "bundle"), "--robot", str(moved)]
    assert main(export) == 0
    found = Bundle.load(tmp_path / "bundle").manifest.robot
    assert found == read_robot(moved)


def test_what_cannot_be_converted_is_one_line_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    declaration, broken = tmp_path / "robot.yaml", tmp_path / "broken.mcap"
    declaration.write_text(ROBOT)
    broken.write_bytes(b"nothing")
    rest = ["--robot", str(declaration), "--out", str(tmp_path / "out")]
    assert main(["episodes", str(tmp_path / "none"), *rest]) == BAD_INPUT
    assert capsys.readouterr().err.endswith("no such recording\n")
    assert main(["episodes", str(broken), *rest]) == 1
    assert "expected an MCAP file" in capsys.readouterr().out


@pytest.mark.parametrize("optional", [False, True])
def test_a_sensor_that_no_recording_has_is_said_last_and_by_the_status(
    optional: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no fault of a sensor that may be missing, nor of one that some recordings have."""
    declaration, out = tmp_path / "robot.yaml", tmp_path / "out"
    may = ", optional: true" if optional else ""
    lidar = f"  lidar: {{kind: scan, channel: {{topic: /scan}}, beams: 64{may}}}\ntargets:"
    declaration.write_text(ROBOT.replace("targets:", lidar, 1))
    whole = write_bag(tmp_path / "whole", motion(1.0))
    bare = write_bag(tmp_path / "bare", (m for m in motion(1.0) if m.topic != "/wrench"))
    words = [str(whole), str(bare), "--robot", str(declaration), "--out", str(out)]
    status, told = (0, "") if optional else (1, "in no episode: lidar: nothing on /scan (mend ")
    for option in ("--dry-run", "--json"):
        assert main(["episodes", *words, option]) == status
        err = capsys.readouterr().err.splitlines()
        assert (err[-1] if err else "").startswith(told)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["episodes"] == 2
    assert list(summary["missing"]) == ([] if optional else ["lidar"])


def test_a_sensor_that_no_step_holds_is_said_last_and_by_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where its stamps are late; a rule that takes it in mends it, without converting anew."""
    declaration, out = tmp_path / "robot.yaml", tmp_path / "out"
    late = (
        m._replace(stamp_ns=m.stamp_ns - 2_000_000_000) if m.topic == "/joints" else m
        for m in motion(4.0)
    )
    words = [str(write_bag(tmp_path / "bag", late)), "--robot", str(declaration)]
    words += ["--out", str(out)]
    skew, off = ("select: [position], max_skew_s: 3.0", "select: [position], enabled: false")
    for keys, status in (("select: [position]", 1), (skew, 0), (off, 0)):
        declaration.write_text(ROBOT.replace("select: [position]", keys, 1))
        assert main(["episodes", *words]) == status
        err = capsys.readouterr().err
        assert ("in no episode: joints: no step holds one of its samples" in err) is bool(status)
        summary = json.loads((out / "summary.json").read_text())
        assert list(summary["missing"]) == (["joints"] if status else [])
