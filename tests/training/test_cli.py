"""The command line: help that teaches, errors in one line, the whole way from files to a bundle."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smvae_core import __version__
from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.modality import find
from smvae_core.presets import vision_touch
from smvae_datasets.image_sets.places import IDX_FILES
from smvae_datasets.vision_touch.files import FIELDS, file_path, write_file
from smvae_training.cli import COMMANDS, main
from smvae_training.commands.arguments import parse_modalities, peek, spell_modalities
from smvae_training.commands.evaluate import _print_scores
from smvae_training.presets import PRESETS
from tests.idx_files import write_idx


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trajectories of one file each."""
    root = tmp_path_factory.mktemp("episodes")
    rng = np.random.default_rng(0)
    for trial in range(3):
        arrays = {}
        for field in FIELDS:
            shape = (50, *field.shape)
            if field.dtype == "uint8":
                arrays[field.name] = rng.integers(0, 2, shape, dtype=np.uint8)
            elif field.name in ("ee_ori", "ee_yaw", "ee_yaw_delta"):
                arrays[field.name] = np.tile(np.float32([0, 0, 0, 1]), (50, 1))
            else:
                arrays[field.name] = rng.uniform(0.3, 0.9, shape).astype(np.float32)
        write_file(file_path(root, f"t{trial}", 0), arrays, {"hole_pose": [0.5, 0.5, 0.1, 0.0]})
    return root


DEBUG = ("train", "--preset", "debug")


def train_arguments(folder: Path, out: Path, *more: str) -> list[str]:
    return [*DEBUG, "--data", str(folder), "--out", str(out), "--no-report", *more]


def test_from_files_to_a_bundle(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    assert main(train_arguments(folder, run, "--max-steps", "2", "--seed", "5")) == 0
    config = json.loads((run / "config.json").read_text())["config"]
    assert (config["max_steps"], config["seed"]) == (2, 5)
    assert main(train_arguments(folder, run)) == 2
    assert "holds a run of 2 of 2 steps" in capsys.readouterr().err
    evaluate = ["evaluate", str(run), "--data", str(folder), "--samples", "1"]
    assert main([*evaluate, "--max-records", "9", "--likelihood-records", "3"]) == 0
    assert "requirements that hold" in capsys.readouterr().out
    assert json.loads((run / "evaluation" / "results.json").read_text())["format"] == 1
    assert main(["export", str(run), str(bundle)]) == 0
    assert (bundle / "manifest.json").is_file()


def test_a_resume_takes_the_runs_own_settings(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    constant = ("--max-steps", "2", "--seed", "3", "--annealing", "0")
    assert main(train_arguments(folder, run, *constant)) == 0
    resume = ["train", "--data", str(folder), "--out", str(run), "--resume", "--max-steps", "3"]
    assert main([*resume, "--no-report"]) == 0
    record = json.loads((run / "config.json").read_text())
    assert (record["step"], record["config"]["seed"]) == (3, 3)


def test_one_command_leads_from_episodes_to_a_report(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([*DEBUG, "--data", str(folder), "--out", str(run), "--max-steps", "1"]) == 0
    assert str(run / "evaluation" / "report.html") in capsys.readouterr().out
    assert (run / "evaluation" / "report.html").is_file()


def test_paths_with_spaces_and_relative_ones_lead_to_a_report_too(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "my data")
    few = ("--max-steps", "1", "--out", "a run", "--data", "my data")
    assert main([*DEBUG, *few]) == 0
    assert Path("a run/evaluation/report.html").is_file()
    record = json.loads(Path("a run/config.json").read_text())
    assert record["data_path"] == str(tmp_path / "my data")
    monkeypatch.chdir("/")
    run = str(tmp_path / "a run")
    capsys.readouterr()
    evaluate = ["evaluate", run, "--samples", "1", "--max-records", "9"]
    assert main([*evaluate, "--likelihood-records", "3"]) == 0, "the data are found from anywhere"
    record["data_path"] = "my data"  # as earlier versions wrote it
    Path(run, "config.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    assert main(["export", run, "bundle"]) == 0
    assert main([*evaluate, "--likelihood-records", "3"]) == 0
    capsys.readouterr()
    assert main([*DEBUG, *few, "--overwrite", "--no-report"]) == 0
    assert capsys.readouterr().out.endswith("next: smvae evaluate 'a run' --data 'my data'\n")


def test_one_command_leads_from_digits_to_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for name, count in zip(IDX_FILES, (120, 120, 40, 40), strict=True):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        content = write_idx(images if "images" in name else np.arange(count, dtype=np.uint8) % 10)
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    small = ("--max-steps", "2", "--model.embedding-dim", "32", "--model.latent-dim", "4")
    assert main(["train", "--preset", "mnist", "--data", str(tmp_path), *small]) == 0
    results = json.loads((tmp_path / "runs/mnist/evaluation/results.json").read_text())
    assert all(check["passed"] for check in results["checks"])
    assert "report.html" in capsys.readouterr().out


def test_two_devices_train_one_model_by_ddp(folder: Path, tmp_path: Path) -> None:
    """Lightning starts the second process from the same command line."""
    run = tmp_path / "run"
    more = ("--hardware.devices", "2", "--max-steps", "2")
    command = [sys.executable, "-m", "smvae_training.cli", *train_arguments(folder, run, *more)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "MEMBER: 2/2" in done.stderr
    assert json.loads((run / "config.json").read_text())["step"] == 2
    assert (run / "weights.safetensors").is_file()


def test_a_flag_that_has_nothing_to_do_is_said(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = "--objective.targets-from-rest has no effect: no target is decoded, see --data.targets"
    few, rest = ("--max-steps", "1"), "--objective.targets-from-rest"
    assert main(train_arguments(folder, tmp_path / "a", *few, rest)) == 0
    assert said in caplog.messages
    caplog.clear()
    assert main(train_arguments(folder, tmp_path / "b", *few)) == 0
    assert main(train_arguments(folder, tmp_path / "c", *few, rest, "--data.targets", "all")) == 0
    assert said not in caplog.messages


def test_bad_data_cost_no_older_run(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(train_arguments(folder, run, "--max-steps", "2")) == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(train_arguments(empty, run, "--overwrite")) == 2
    assert (run / "weights.safetensors").is_file()


NO_WEIGHTS = [word for name in ("rgb", "depth", "force", "action") for word in (name, "0")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["train", "--preset", "demi", "--data", "x", "--out", "y"], "Did you mean 'demo'?"),
        (["train", "--data", "nowhere", "--out", "y"], "nowhere"),
        (["train", "--data", "x", "--out", "nowhere", "--resume"], "no config.json"),
        (["evaluate", "nowhere", "--data", "x"], "no config.json"),
        (["export", "nowhere", "bundle"], "no config.json"),
        (["download", "mnits"], "unknown data set 'mnits'"),
        (["download", "mnist", "x"], "mnist takes no folder"),
        (["download", "vision-touch"], "vision-touch needs a folder"),
        (["train", "--preset", "celeba", "--out", "y"], "expected the folder of its files"),
        (["figures", "nowhere", "--out", "y"], "no config.json"),
        (["train", "--out", __file__], "test_cli.py is a file: choose another --out"),
        (["train", "--out", f"{__file__}/run"], "test_cli.py is a file: choose another --out"),
        (["train", "--seed", str(2**63)], "--seed must lie in [0, 2^63), got 9223372036854775808"),
        (["evaluate", "x", "--seed", "-1"], "--seed must lie in [0, 2^63), got -1"),
        (
            ["train", "--objective.weights", *NO_WEIGHTS],
            "leaves nothing to learn",
        ),
        (["train", "--model.modalities", "vision_touch:64:"], "unknown modality ''"),
        (["train", "--model.modalities", "vision_touch:0"], "at least 1, got (3, 0, 0)"),
        (["train", "--model.num-heads", "0"], "--model.num-heads must be at least 1, got 0"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr().err.strip()
    assert words in captured
    assert captured.count("\n") == 0
    assert "Traceback" not in captured


LONG = f"/{'a_long_folder/' * 12}run"


UNREADABLE = [
    ("evaluate-bag empty", "Missing from smvae evaluate-bag: --bundle PATH (Folder written by"),
    ("simulate", "Missing from smvae simulate: PATH (Folder for the episodes; made if missing"),
    ("train --max-steps x", "'x'; expected --max-steps INT"),
    ("train --objective.target all", "Expected one of ('observed', 'subset', 'remaining'"),
    (f"evaluate run {LONG}", f"Unrecognized options: {LONG}"),
    ("train --no-repor", "Perhaps you meant: --report, --no-report"),
    ("episodes bag --out", "Missing value for argument '--out'"),
]


def told_in_one_line(words: str, said: str, stderr: str) -> bool:
    command = words.split()[0]
    begin, end = f"smvae {command}: error: ", f"; see `smvae {command} --help`\n"
    whole = stderr.startswith(begin) and stderr.endswith(end) and stderr.count("\n") == 1
    return whole and said in stderr and not {*"│─╮"} & {*stderr}


@pytest.mark.parametrize(("words", "said"), UNREADABLE)
def test_a_command_line_that_cannot_be_read_is_one_line(
    words: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(words.split()) == 2
    assert told_in_one_line(words, said, capsys.readouterr().err)
    assert os.environ["COLUMNS"] == "40"


def test_a_command_line_that_cannot_be_read_is_one_line_where_stdout_is_ascii() -> None:
    """The frame has no bars there."""
    words, said = UNREADABLE[0]
    done = subprocess.run(
        [sys.executable, "-m", "smvae_training.cli", *words.split()],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 2
    assert told_in_one_line(words, said, done.stderr)
    assert "--- " not in done.stderr


def test_the_version_is_that_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    """An editable installation keeps the one of its last `pip install` in its metadata."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"smvae {__version__}\n"


def test_help_lists_commands_and_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in PRESETS)
    assert "--optimizer.lr" in text
    assert "examples:" in text


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from smvae_training.cli import main; main(['--help']); "
        "sys.exit(bool({'torch', 'numpy', 'tyro', 'mujoco'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("words", [*COMMANDS, "robot scaffold", "robot validate"])
def test_every_command_explains_itself(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*words.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "example" in text
    assert not re.search(r"\n\s*\n\s*\n", text), "two empty lines in a row"
    assert not re.search(r"[ \t]\n", text), "spaces at the end of a line"


def test_modalities_are_spelled_by_name_and_side() -> None:
    assert parse_modalities("vision_touch:32") == vision_touch(32)
    assert spell_modalities(vision_touch(128)) == "vision_touch:128"
    force, rgb = (find(vision_touch(32), name) for name in ("force", "rgb"))
    assert parse_modalities("vision_touch:32:force+rgb") == (force, rgb)
    assert spell_modalities((force, rgb)) == "vision_touch:32:force+rgb"
    assert parse_modalities(spell_modalities((force,))) == (force,)
    with pytest.raises(UnknownModality, match="Did you mean 'force'"):
        parse_modalities("vision_touch:32:forse")
    with pytest.raises(ConfigError, match="Did you mean 'vision_touch'"):
        parse_modalities("vision_tuch:64")
    with pytest.raises(ConfigError, match="'mnist' has one size and comes whole, got 'mnist:14'"):
        parse_modalities("mnist:14")
    with pytest.raises(ConfigError, match="expected NAME:SIDE"):
        parse_modalities("vision_touch")


def test_flags_are_seen_before_everything_is_parsed() -> None:
    words = ["--out", "a", "--preset=demo", "--out=b"]
    assert (peek(words, "--out"), peek(words, "--preset")) == ("b", "demo")
    assert peek(words, "--data") is None


def test_a_robot_without_a_camera_gets_a_table_of_its_sensors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = {"imu": {"log_likelihood_per_dim": 1.0, "rmse_rad/s": 0.0269}}
    _print_scores({"ratios": {"imu": {}}, "subsets": {"imu": scores}, "checks": []})
    said = capsys.readouterr().out
    assert "imu rad/s" in said
    assert "0.0269" in said
