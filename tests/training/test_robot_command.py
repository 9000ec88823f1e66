"""`smvae robot scaffold` writes a declaration that reads, and refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("pyarrow")
pytest.importorskip("rosbags")

from smvae_core.robot import read_robot
from smvae_training.cli import main
from tests.datasets import lerobot_folders as made


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
            "folder nothing: no meta/info.json in it: no such folder",
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
