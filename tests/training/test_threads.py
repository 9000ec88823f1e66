"""Threads and their waiting are set where we start; whoever started us wins."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from smvae_training.threads import SPIN, CoreShare, usable_cores, use_cores, wait_briefly

VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # others' tests need theirs
    return monkeypatch


@pytest.mark.parametrize("theirs", VARIABLES[1:])
def test_threads_spin_briefly_unless_the_user_says_otherwise(
    environment: pytest.MonkeyPatch, theirs: str
) -> None:
    assert wait_briefly()
    assert {name: os.environ[name] for name in SPIN} == SPIN
    for name in SPIN:
        environment.delenv(name)
    environment.setenv(theirs, "ACTIVE")
    assert not wait_briefly()
    assert [name for name in VARIABLES if name in os.environ] == [theirs]


def test_the_choice_is_said_in_one_line(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "smvae_training")
    counts: list[int] = []
    environment.setattr(torch, "set_num_threads", counts.append)
    environment.setattr("smvae_training.threads.usable_cores", lambda: 6)
    use_cores()
    use_cores(4)
    wait_briefly()
    use_cores(9)
    assert counts == [6, 1, 1]
    environment.setenv("OMP_NUM_THREADS", "3")
    use_cores()
    assert counts == [6, 1, 1], "the user's own count stays"
    said = [record.getMessage() for record in caplog.records]
    assert said[0].endswith("(usable cores), spinning")
    assert said[1].endswith("(6 usable cores, 4 processes), spinning")
    assert said[2].endswith("(6 usable cores, 9 processes), GOMP_SPINCOUNT=10000 KMP_BLOCKTIME=1")
    assert said[3].endswith("(OMP_NUM_THREADS), GOMP_SPINCOUNT=10000 KMP_BLOCKTIME=1")


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("150000 100000", 2), ("1000 100000", 1), ("?", 8)]
)
def test_a_containers_quota_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path / "cpu.max") == cores
    assert usable_cores(tmp_path / "none") == 8


@pytest.mark.parametrize("start", ["smvae_training.cli", "benchmarks.paper.run_queue"])
def test_openmp_reads_the_policy_where_we_start(start: str) -> None:
    """Libgomp itself says what it has read, when it is loaded."""
    if not sys.platform.startswith("linux"):
        pytest.skip("libgomp is Linux's")
    arguments = ["figures", "nowhere", "--out", "x"] if "cli" in start else ["--list"]
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-m", start, *arguments],
        env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    lines = map(str.strip, done.stderr.splitlines())
    spins = [line for line in lines if line.startswith("GOMP_SPINCOUNT =")]
    if not spins:
        pytest.skip(f"this torch has another OpenMP: {done.stderr[-200:]}")
    assert spins[-1].split("=")[1].strip().strip("'") == "10000", spins


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux's counters")
@pytest.mark.parametrize(
    ("others_s", "threads"), [(0.0, 4), (0.6, 2), (1.0, 1)], ids=["alone", "some", "all"]
)
def test_threads_follow_what_others_leave(
    monkeypatch: pytest.MonkeyPatch,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    others_s: float,
    threads: int,
) -> None:
    """Four cores: others use none, more than half, or all of what this process leaves."""
    caplog.set_level("INFO", "smvae_training")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    now = {"wall": 100.0, "own": 0.0, "count": 4}
    monkeypatch.setattr(time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(time, "process_time", lambda: now["own"])
    monkeypatch.setattr(torch, "get_num_threads", lambda: now["count"])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: now.update(count=count))
    stat, ticks = tmp_path / "stat", os.sysconf("SC_CLK_TCK")

    def pass_time(seconds: float) -> None:
        now["wall"] += seconds
        now["own"] += seconds  # one core's worth
        idle = round(ticks * (now["wall"] - 100.0) * 0.75 * (1.0 - others_s))
        lines = [f"cpu{core} 1 2 3 {idle} 0 0 0 0 0 0" for core in range(4)]
        stat.write_text("\n".join(["cpu 1 2 3 4 5", *lines, "cpu9 0 0 0 9 0", "intr 1 2"]))

    pass_time(0.0)
    share = CoreShare(4, stat=stat)
    for _ in range(2):  # one look may be chance
        assert now["count"] == 4
        pass_time(5.0)
        share.look()
    assert now["count"] == threads
    assert ("threads: " in caplog.text) == (others_s > 0.0)
    share.look()
    assert now["count"] == threads, "not looked at again before five seconds have passed"


def test_a_pinned_number_of_threads_stays(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts: list[int] = []
    environment.setattr(torch, "set_num_threads", counts.append)
    environment.setenv("OMP_NUM_THREADS", "2")
    pinned = CoreShare(2, period_s=0.0)
    environment.delenv("OMP_NUM_THREADS")
    unknown = CoreShare(2, period_s=0.0, stat=tmp_path / "none")
    for share in (pinned, unknown):
        for _ in range(3):
            share.look()
    assert counts == []
