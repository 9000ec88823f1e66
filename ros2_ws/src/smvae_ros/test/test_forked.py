"""What the tests fork is as what they start: nothing that a program can see of itself differs."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from robot_harness import Process, nurseries

#: Of its files a library does not count: libffi keeps its own open once ctypes is imported.
SEEN = """
import os, signal, sys
print(__name__, sys.argv, repr(sys.path[0]), os.getcwd(), sys.stdout.write_through)
print(sorted(os.environ.items()))
print([(n.name, signal.getsignal(n)) for n in signal.Signals])
files = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
print(len(os.listdir("/proc/self/task")), sum(".so" not in name for name in files))
print([m for m in ("torch", "rclpy") if m in sys.modules])
print("to the other stream", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.end()


def test_it_sees_what_a_fresh_process_sees(
    tmp_path: Path, started: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_OWN", "one")
    monkeypatch.chdir(tmp_path)
    for fresh in (False, True):
        started.append(Process(SEEN, 7, tmp_path / f"{fresh}", "--word", "a b", fresh=fresh))
        assert started[-1].process.wait(60.0) == 3, started[-1].text()
    forked, fresh = started
    assert not isinstance(forked.process, subprocess.Popen)
    assert forked.text() == fresh.text()
    assert "('MY_OWN', 'one')" in forked.text()
    assert "('ROS_DOMAIN_ID', '7')" in forked.text()
    assert forked.text().endswith("[]\nto the other stream\n")


def test_what_is_read_once_makes_it_a_fresh_one(
    tmp_path: Path, started: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "only_here.py").write_text("")
    started.append(Process("import only_here", 7, tmp_path / "log"))
    assert isinstance(started[0].process, subprocess.Popen)
    assert started[0].process.wait(60.0) == 0, started[0].text()


@pytest.mark.parametrize("fresh", [False, True], ids=["forked", "fresh"])
def test_how_it_ended_is_known(tmp_path: Path, started: list[Process], fresh: bool) -> None:
    code = "import time; print('here', flush=True); time.sleep(600)"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        started.append(Process(code, 7, tmp_path / "log", fresh=fresh))
        process = started[-1].process
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        while "here" not in started[-1].text():
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(60.0) == process.poll() == process.returncode == -number
        process.send_signal(number)  # nobody's any more
    started.append(Process("raise ValueError('of its own')", 7, tmp_path / "log", fresh=fresh))
    assert started[-1].process.wait(60.0) == 1
    assert started[-1].text().endswith("ValueError: of its own\n")


def test_many_at_once_are_told_apart(tmp_path: Path, started: list[Process]) -> None:
    code = "import sys; sys.exit(int(sys.argv[1]))"
    started += [Process(code, 7, tmp_path / f"{status}", str(status)) for status in range(8)]
    assert [p.process.wait(60.0) for p in reversed(started)] == list(reversed(range(8)))
    assert len({p.process.pid for p in started}) == 8
    assert len(nurseries) == 1
