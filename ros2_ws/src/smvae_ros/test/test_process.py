"""Programs end in order on a signal, and a signal that launch repeats finds nobody any more."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal
from smvae_ros.process import SIGNALS, until_stopped

with until_stopped([]) as stop:
    assert not stop.is_set()
    os.kill(os.getpid(), signal.{name})
    assert stop.wait(10.0)
assert all(signal.getsignal(number) is signal.SIG_IGN for number in SIGNALS)
os.kill(os.getpid(), signal.{name})
print("ended")
"""


def test_a_program_stops_on_a_signal_and_ignores_its_repetition() -> None:
    for name in ("SIGINT", "SIGTERM"):
        code = PROGRAM.format(name=name)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
