"""`smvae robot scaffold` writes a declaration that reads, and refuses in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")
pytest.importorskip("rosbags")

from smvae_core.robot import read_robot
from smvae_training.cli import main
from smvae_training.presets import debug
from smvae_training.run import load_run
from smvae_training.trainer import train
from tests.datasets import lerobot_folders as made
from tests.datasets.recorded import ROBOT, motion, write_bag

BAGS = Path(__file__).parents[2].parent / "shared/data/bags"


def test_a_folder_becomes_a_file_and_no_file_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = made.write_v21(tmp_path / "set", (4,)), tmp_path / "robot.yaml"
    assert main(["robot", "scaffold", str(folder), "-o", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    assert [m.name for m in read_robot(file).modalities] == ["joints", "action", "wrist"]
    assert main(["robot", "scaffold", str(folder), "-o", str(file)]) == 2
    assert "robot.yaml is there already" in capsys.readouterr().err
    assert main(["robot", "scaffold", str(folder)]) == 0
    assert capsys.readouterr().out == file.read_text()
    assert main(["robot", "scaffold", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["robot"] == "toy_arm"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["scafold"],
            "no such action 'scafold'; have scaffold, validate. Did you mean 'scaffold'?",
        ),
        (
            ["scaffold", "nothing"],
            "bag nothing: no such",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["robot", *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), ([], 2)])
def test_help_names_every_action(
    words: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["robot", *words])
    assert stop.value.code == status
    assert "scaffold  write a first robot.yaml" in capsys.readouterr().out


def test_validate_prints_the_whole_declaration_or_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arm = Path(__file__).resolve().parents[1] / "robots" / "my_arm.yaml"
    assert main(["robot", "validate", str(arm)]) == 0
    printed = capsys.readouterr().out
    assert "min_samples: 3" in printed
    (tmp_path / "whole.yaml").write_text(printed)
    assert read_robot(tmp_path / "whole.yaml").modalities == read_robot(arm).modalities
    assert main(["robot", "validate", str(arm), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sensors"]["force"]["frame_id"] == "tool0"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(arm.read_text().replace("rate_hz: 1000", "rate_hs: 1000"))
    assert main(["robot", "validate", str(wrong)]) == 2
    assert "sensors.force.rate_hs: no such key" in capsys.readouterr().err


def test_dry_run_prints_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, file = write_bag(tmp_path / "bag", motion(0.5)), tmp_path / "robot.yaml"
    assert main(["robot", "scaffold", str(bag), "-o", str(file), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert not file.exists()
    assert main(["robot", "scaffold", str(bag), "-o", str(file)]) == 0
    assert file.read_text() == printed


def test_a_damaged_recording_is_declared_and_its_damage_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = write_bag(tmp_path / "bag", motion(1.0)).glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert main(["robot", "scaffold", str(file)]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("fault: ")
    assert said.err.count("\n") == 1
    fault = said.err.removeprefix("fault: ").partition(" (")[0].strip()
    assert f"# Fault: {fault}" in said.out
    assert main(["robot", "scaffold", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faults"][0].startswith(fault)


def test_a_declaration_is_held_against_a_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, file = write_bag(tmp_path / "bag", motion(0.5)), tmp_path / "robot.yaml"
    file.write_text(ROBOT)
    validate = ["robot", "validate", str(file), str(bag)]
    assert main(validate) == 0
    table = capsys.readouterr().out
    assert len(table.splitlines()) == 6
    assert table.splitlines()[2].split()[:4] == ["force", "250", "500", "Hz"]
    wrong = {
        "joints: [j1, j2]": ("joints: [j1, j9]", "joints: 50 of 50 messages refused: field: "),
        "topic: /depth/image": (
            "topic: /depth/imag",
            "depth: nothing on /depth/imag; did you mean /depth/image?",
        ),
        "size: [32, 32]}": (
            "size: [32, 32], fit: {crop: [0, 0, 90, 90]}}",
            "at least 90 x 90 pixels for the declared crop, got 40 x 48",
        ),
        "channel: {topic: /joints}": (
            "channel: {topic: /pose}",
            "read from sensor_msgs/msg/JointState, got 'geometry_msgs/msg/PoseStamped'",
        ),
        "rate_hz: 1000": (
            "rate_hz: 1000\n    min_samples: 30",
            "500 Hz give 16.0 readings in a window of 0.032 s, 30 are needed: window_s 0.064, "
            "or rate_hz 500 with window_s 0.064",
        ),
        "    window_s": (
            "    frame_id: tool9\n    window_s",
            "frame_id: expected tool9, got 'tool0'",
        ),
        "select: [pose.position]": (
            "select: [pose.place]",
            "hole: geometry_msgs/msg/PoseStamped.pose has no 'place'",
        ),
    }
    for old, (new, said) in wrong.items():
        file.write_text(ROBOT.replace(old, new, 1))
        assert main(validate) == 1, new
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    odd = {
        "rate_hz: 1000": ("rate_hz: 2000", "fits; the grid is of 2000 Hz, straight lines between"),
        "{kind: joint_state, channel: {topic: /joints}": (
            "{optional: true, kind: joint_state, channel: {topic: /joint}",
            "absent; nothing on /joint; did you mean /joints?",
        ),
        "{topic: /depth/image": (
            "{topic: /depth/image, type: sensor_msgs/msg/CompressedImage",
            "fits; a node listens for sensor_msgs/msg/CompressedImage and would hear nothing of "
            "this; if the robot sends what was recorded: type: sensor_msgs/msg/Image",
        ),
    }
    for old, (new, said) in odd.items():
        file.write_text(ROBOT.replace(old, new, 1))
        assert main(validate) == 0
        assert said in capsys.readouterr().out
    file.write_text(ROBOT.replace("[pose.position]", "[pose.place]"))
    assert main([*validate, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["fits"]
    assert found["sensors"]["wrist"]["messages"] == 10
    assert found["sensors"]["hole"]["wrong"]


def test_a_lerobot_folder_is_held_against_what_was_declared_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = made.write_v21(tmp_path / "set", (4,)), tmp_path / "robot.yaml"
    assert main(["robot", "scaffold", str(folder), "-o", str(file)]) == 0
    assert main(["robot", "validate", str(file), str(folder)]) == 0
    assert "wrist" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("wrench_sensing_drill_vibration", {"wrench": 643.7}),
        ("robot_localization_test1", {"fix": 2.5, "odom": 9.99, "imu": 30.0}),
    ],
)
def test_a_real_bag_goes_from_scaffold_to_scores_without_a_camera(
    name: str, rates: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not BAGS.exists():
        pytest.skip(f"no real recordings in {BAGS}")
    bag, file, out = BAGS / f"{name}.bag", tmp_path / "robot.yaml", tmp_path / "episodes"
    assert main(["robot", "scaffold", str(bag), "-o", str(file)]) == 0
    capsys.readouterr()
    assert main(["robot", "validate", str(file), str(bag), "--json"]) == 0
    held = json.loads(capsys.readouterr().out)["sensors"]
    measured = {sensor: fit["rate_hz"] for sensor, fit in held.items()}
    assert measured == pytest.approx(rates, rel=2e-3)
    assert main(["episodes", str(bag), "--robot", str(file), "--out", str(out)]) == 0
    small = debug()
    modalities = read_robot(file).modalities
    config = replace(small, model=replace(small.model, modalities=modalities), max_steps=2)
    run = tmp_path / "run"
    assert load_run(train(config, out, run)).record.step == 2
    few = ["--max-records", "20", "--likelihood-records", "2", "--train-records", "20"]
    assert main(["evaluate", str(run), "--data", str(out), *few]) == 0
    errors = json.loads((run / "evaluation/results.json").read_text())["groups"]["errors"]
    assert {*errors["+".join(rates)]} == {*rates}
