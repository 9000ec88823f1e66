"""Ctrl-C while worker processes begin: the parent hears it once they have."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from smvae_datasets.worker_process import deaf_to_ctrl_c


@pytest.fixture(autouse=True)
def _python_hears_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def blocked() -> bool:
    """Whether a process that begins now is deaf to SIGINT."""
    text = Path("/proc/thread-self/status").read_text(encoding="ascii")
    mask = int(text.split("SigBlk:")[1].split()[0], 16)
    return bool(mask >> (signal.SIGINT - 1) & 1)


def press_ctrl_c_in_the_body(reached: list[bool]) -> None:
    with deaf_to_ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            os.getpid()
        reached.append(True)


def test_ctrl_c_in_the_body_is_heard_after_it_though_another_thread_takes_it() -> None:
    done, reached = threading.Event(), list[bool]()
    idle = threading.Thread(target=done.wait)  # does not block the signal: the system picks it
    idle.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c_in_the_body(reached)
    finally:
        done.set()
        idle.join()
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_begins_in_the_body_is_deaf_even_where_a_resource_tracker_begins_too() -> None:
    resource_tracker._resource_tracker._stop()  # the next one unblocks SIGINT as it starts
    with deaf_to_ctrl_c():
        resource_tracker.ensure_running()
        assert blocked()
    assert not blocked()


POOL = """
import multiprocessing, signal
from smvae_datasets.worker_process import follow_the_parent
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with multiprocessing.get_context("spawn").Pool(2, follow_the_parent) as pool:
        print(pool.map(abs, [-1]))
"""


def test_a_pool_ends_though_its_parent_ignores_sigterm(tmp_path: Path) -> None:
    program = tmp_path / "pool.py"
    program.write_text(POOL, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.communicate(timeout=60.0) == (b"[1]\n", None)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
