"""Programs end in order on a signal, and a signal that launch repeats finds nobody any more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal
from smvae_ros.lifecycle.process import SIGNALS, until_stopped

with until_stopped([]) as stop:
    assert not stop.is_set()
    os.kill(os.getpid(), signal.{name})
    assert stop.wait(60.0)
assert all(signal.getsignal(number) is signal.SIG_IGN for number in SIGNALS)
os.kill(os.getpid(), signal.{name})
print("ended")
"""


def test_a_program_stops_on_a_signal_and_ignores_its_repetition() -> None:
    for name in ("SIGINT", "SIGTERM"):
        code = PROGRAM.format(name=name)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
        )
        assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


#: rcl refuses it: a wildcard that holds parameters and a node.
UNPARSABLE = """
/**:
  ros__parameters: {max_rate_hz: 20.0}
  smvae:
    ros__parameters: {max_rate_hz: 7.0}
"""


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--params-file", "FILE"), "Couldn't parse params file"),
        (("--params-file", "nothing.yaml"), "nothing.yaml"),
        (("--bogus",), "--bogus"),
        (("-r", "__node:=a b"), "a b"),
    ],
)
def test_arguments_that_ros_refuses_end_the_start_with_one_line(
    tmp_path: Path, arguments: tuple[str, ...], what: str
) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(UNPARSABLE)
    words = ["--ros-args", *(str(file) if word == "FILE" else word for word in arguments)]
    code = "import sys; from smvae_ros.perception_node import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "ROS does not start" in line
    assert what in line
    assert "Traceback" not in done.stderr
