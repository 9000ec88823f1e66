"""RELIABILITY.md says what the measurements' files say, and the measurements run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_page_names_exists() -> None:
    from benchmarks.reliability.tested import tests

    named = [t.split("::") for t in sorted(tests())]
    missing = [f"{file}::{name}" for file, name in named if name not in functions(ROOT / file)]
    assert named
    assert not missing


def test_the_page_is_written_from_the_measurements() -> None:
    from benchmarks.reliability.page import PAGE, page

    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m benchmarks.reliability.page"


def test_a_promise_that_is_not_kept_is_printed_as_broken(tmp_path: Path) -> None:
    from benchmarks.reliability.record import Promise, Result, read, short_table, write

    late = Promise(text="within 5 s", figure=5.5, limit=5.0, unit="s")
    lost = Promise(text="measured", figure=float("nan"), limit=0, unit="latents")
    many = Promise(text="at least 5", figure=6, limit=5, unit="messages", at_least=True)
    result = Result(promises=(late, lost, many), done="", raw={})
    assert [p.kept for p in result.promises] == [False, False, True]
    assert short_table(result).count("BROKEN") == 2
    promises, _ = read(write("any", result, {}, tmp_path))
    assert [p.kept for p in promises] == [False, False, True]


def test_damaged_messages_through_a_live_node_find_no_fault(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    pytest.importorskip("smvae_msgs", reason="ros2_ws is not built: run scripts/build_workspace.sh")
    from benchmarks.reliability.bundle import untrained
    from benchmarks.reliability.measured import malformed

    result = malformed.measure(untrained(tmp_path / "bundle"), tmp_path, damaged=60)
    broken = [p.text for p in result.promises[1:] if not p.kept]
    assert not broken, result.raw["wrong"]
    assert result.promises[0].figure >= 60


@pytest.mark.parametrize("package", ["benchmarks.live", "benchmarks.reliability"])
def test_without_ros_one_line_says_how_to_have_it(package: str, tmp_path: Path) -> None:
    # folders that hide ROS come first, wherever it is installed
    for name in ("rclpy", "smvae_msgs"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", package, "force-500"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert ". scripts/ros_env.sh" in done.stderr
