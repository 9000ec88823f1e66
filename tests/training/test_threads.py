"""Threads and their waiting are set where we start; whoever started us wins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smvae_training.threads import usable_cores, use_cores, wait_passively

VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # others' tests need theirs
    return monkeypatch


@pytest.mark.parametrize("theirs", VARIABLES[1:])
def test_threads_wait_asleep_unless_the_user_says_otherwise(
    environment: pytest.MonkeyPatch, theirs: str
) -> None:
    assert wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    environment.delenv("OMP_WAIT_POLICY")
    environment.setenv(theirs, "ACTIVE")
    assert not wait_passively()
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
    wait_passively()
    use_cores(9)
    assert counts == [6, 1, 1]
    environment.setenv("OMP_NUM_THREADS", "3")
    use_cores()
    assert counts == [6, 1, 1], "the user's own count stays"
    said = [record.getMessage() for record in caplog.records]
    assert said[0].endswith("(usable cores), spinning")
    assert said[1].endswith("(6 usable cores, 4 processes), spinning")
    assert said[2].endswith("(6 usable cores, 9 processes), OMP_WAIT_POLICY=PASSIVE")
    assert said[3].endswith("(OMP_NUM_THREADS), OMP_WAIT_POLICY=PASSIVE")


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


@pytest.mark.parametrize("start", ["smvae_training.cli", "benchmarks.run_queue"])
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
    spins = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not spins:
        pytest.skip(f"this torch has another OpenMP: {done.stderr[-200:]}")
    assert spins[-1].split("=")[1].strip().strip("'") == "0", spins
