"""The demo's stages, its processes, and what its summary demands of them."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import demo
from demo_assist import attempts_ended
from demo_live import Processes, torch_facts, without_torch
from demo_stages import Stage, StageFailed, StageRunner, command

from smvae_core.view.process import why_no_viewer
from smvae_training.evaluate.live.bag import LiveRunError
from smvae_training.evaluate.live.demo_report import (
    DemoPaths,
    held_out_checks,
    process_checks,
    read_json,
    stage_seconds,
    viewing_section,
    with_nan,
)
from smvae_training.evaluate.results import jsonable

WAIT = "import time; print('up', flush=True); time.sleep(60)"
POLITE = f"import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(0)); {WAIT}"
STUBBORN = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {WAIT}"


class Work:
    """A stage's work that notes its calls and writes its output."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.calls: list[bool] = []
        self.fails = False

    def __call__(self, resume: bool) -> None:
        self.calls.append(resume)
        if self.fails:
            raise StageFailed("a", "broke")
        self.output.write_text("done")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "output")


def run_stage(folder: Path, work: Work, settings: dict[str, Any]) -> StageRunner:
    runner = StageRunner(folder / "stamps", Console(quiet=True), 1)
    runner.run(Stage(name="a", title="A", settings=settings, output=work.output, work=work))
    return runner


def test_a_stage_is_done_once(tmp_path: Path, work: Work) -> None:
    assert run_stage(tmp_path, work, {"seed": 1}).reused == []
    assert run_stage(tmp_path, work, {"seed": 1}).reused == ["a"]
    assert work.calls == [False]


def test_other_settings_or_missing_output_redo_a_stage(tmp_path: Path, work: Work) -> None:
    run_stage(tmp_path, work, {"seed": 1})
    run_stage(tmp_path, work, {"seed": 2})
    work.output.unlink()
    run_stage(tmp_path, work, {"seed": 2})
    assert work.calls == [False, False, False]


def test_an_interrupted_stage_may_be_resumed_with_the_same_settings_only(
    tmp_path: Path, work: Work
) -> None:
    work.fails = True
    for seed in (1, 1, 2):
        with pytest.raises(StageFailed, match="stage 'a': broke"):
            run_stage(tmp_path, work, {"seed": seed})
    assert work.calls == [False, True, False]


def test_a_stage_that_leaves_no_output_fails(tmp_path: Path, work: Work) -> None:
    stage = Stage(
        name="a", title="A", settings={}, output=tmp_path / "other", work=lambda _: work(False)
    )
    with pytest.raises(StageFailed, match="left no"):
        StageRunner(tmp_path / "stamps", Console(quiet=True), 1).run(stage)


def test_a_redone_stage_redoes_what_follows(tmp_path: Path) -> None:
    works = {name: Work(tmp_path / name) for name in "ab"}

    def run_both(seed: int) -> list[str]:
        runner = StageRunner(tmp_path / "stamps", Console(quiet=True), 2)
        for name, each in works.items():
            settings = {"seed": seed} if name == "a" else {}
            runner.run(
                Stage(name=name, title=name, settings=settings, output=each.output, work=each)
            )
        return runner.reused

    assert run_both(1) == []
    assert run_both(1) == ["a", "b"]
    assert run_both(2) == []
    assert set(stage_seconds(DemoPaths(tmp_path / "none"))) == set()


def test_a_command_that_fails_names_its_stage() -> None:
    command("a", sys.executable, "-c", "pass")
    with pytest.raises(StageFailed, match=r"stage 'a': .* exited with 3"):
        command("a", sys.executable, "-c", "import sys; sys.exit(3)")
    with pytest.raises(KeyboardInterrupt):
        command("a", sys.executable, "-c", "import sys; sys.exit(130)")


def started(processes: Processes, name: str, code: str) -> int:
    """Start a Python process and wait until it says that it is up."""
    pid = processes.start(name, [sys.executable, "-c", code], dict(os.environ))
    deadline = time.monotonic() + 120.0
    while "up" not in (processes.logs / f"{name}.log").read_text():
        assert time.monotonic() < deadline, "the process did not start"
        time.sleep(0.02)
    return pid


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_processes_end_when_asked_and_say_how(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        pids = [started(processes, "polite", POLITE), started(processes, "stubborn", STUBBORN)]
        processes.watch("live")
        processes.end("polite", timeout_s=120.0)
        processes.end("stubborn", timeout_s=0.1)
    assert all(map(gone, pids))
    assert processes.facts["polite"]["exit_code"] == 0
    assert processes.facts["stubborn"]["exit_code"] == -signal.SIGTERM
    assert processes.forced == ["stubborn: SIGTERM"]


def test_no_process_outlives_a_failure(tmp_path: Path) -> None:
    pids = []

    def fail() -> None:
        with Processes(tmp_path) as processes:
            pids.append(started(processes, "polite", POLITE))
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert all(map(gone, pids))


def test_a_process_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start(
            "node", [sys.executable, "-c", "raise SystemExit('no bundle')"], dict(os.environ)
        )
        processes.running["node"].wait(120)
        processes.watch("assist", but="node")
        with pytest.raises(StageFailed, match="stage 'assist': node ended with 1: no bundle"):
            processes.watch("assist")


def test_torch_cannot_be_imported_where_it_is_blocked(tmp_path: Path) -> None:
    environment = without_torch(dict(os.environ), tmp_path)
    facts = torch_facts(os.getpid(), environment)
    assert facts["import_fails"]
    assert "a robot does not have it" in facts["import_says"]
    works = [sys.executable, "-c", "import numpy, smvae_core.runtime"]
    assert subprocess.run(works, env=environment, check=False).returncode == 0


def facts(**changes: Any) -> dict[str, Any]:
    torch = {"import_fails": True, "libraries_mapped": [], "import_says": ""}
    processes = {"node": {"exit_code": 0, "cpu_cores": 0.3}}
    whole = {"torch_on_the_robot": torch, "processes": processes, "forced": [], "left_over": []}
    return whole | changes


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({}, []),
        ({"forced": ["node: SIGKILL"]}, ["every process ended when asked"]),
        ({"processes": {"node": {"exit_code": 1}}}, ["every process ended when asked"]),
        (
            {"torch_on_the_robot": {"import_fails": True, "libraries_mapped": ["libtorch.so"]}},
            ["no torch on the robot"],
        ),
    ],
)
def test_process_checks(changes: dict[str, Any], failing: list[str]) -> None:
    checks = process_checks(facts(**changes), facts())
    assert [c["name"] for c in checks if not c["passed"]] == failing


@pytest.mark.parametrize("code", [1, None])
def test_processes_that_help_must_end_as_well(code: int | None) -> None:
    helping = facts(processes={"operator": {"exit_code": code, "cpu_cores": 0.1}})
    checks = process_checks(facts(), helping)
    assert [c["name"] for c in checks if not c["passed"]] == ["every process ended when asked"]
    assert checks[1]["got"]["operator, helping"] == code


def test_held_out_requirements_become_one_check_per_rule() -> None:
    where = {"target": "rgb", "condition": "all", "region": "whole", "requirement": "mean < 1"}
    each = [
        where | {"rule": "no camera", "subset": "force", "value": 0.9, "passed": True},
        where | {"rule": "no camera", "subset": "action", "value": 1.1, "passed": False},
    ]
    (check,) = held_out_checks({"checks": each})
    assert not check["passed"]
    assert check["got"] == {"hold": "1 of 2", "rgb, action, all, whole": 1.1}


def test_nan_survives_json() -> None:
    data = jsonable({"a": [1.0, math.nan]})
    assert data == {"a": [1.0, None]}
    assert math.isnan(with_nan(data)["a"][1])


def test_a_missing_stage_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LiveRunError, match="cannot be read"):
        read_json(tmp_path / "live.json")


@pytest.mark.parametrize("viewer", [True, False])
def test_the_bag_is_drawn_before_the_report_where_there_is_a_viewer(
    viewer: bool, tmp_path: Path
) -> None:
    paths = DemoPaths(tmp_path)
    names = [s.name for s in demo.stages(demo.parse([]), paths, viewer=viewer)]
    shown = ["live", "view"] if viewer else ["live"]
    assert names[4:] == [*shown, "insert", "assist", "report"]
    assert "href" not in viewing_section(paths).html
    paths.view.touch()
    assert f'href="{paths.view.name}"' in viewing_section(paths).html


def test_attempts_are_read_from_what_the_operator_logs() -> None:
    log = """[INFO] [1.2] [operator]: attempt 1: seated in 8.4 s and out again; 1 of 1 seated
[WARN] [1.3] [operator]: truth refused
[INFO] [9.2] [operator]: attempt 2: not seated in 20.1 s and out again; 1 of 2 seated
"""
    assert attempts_ended(log) == [
        {"seated": True, "seconds": 8.4},
        {"seated": False, "seconds": 20.1},
    ]
    assert attempts_ended("") == []


def test_why_there_is_no_viewer_is_one_line(tmp_path: Path) -> None:
    why = why_no_viewer("/no/such/python")
    assert "pip install rerun-sdk" in why
    assert "\n" not in why
    draws = tmp_path / "draws"
    draws.write_text("#!/bin/sh\necho ready\ncat > /dev/null\n")
    draws.chmod(0o755)
    assert why_no_viewer(draws) == ""
