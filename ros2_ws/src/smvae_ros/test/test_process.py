"""Programs end in order on a signal, and a signal that launch repeats finds nobody any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import get_logger
from smvae_ros.infer.loading import Interrupted
from smvae_ros.lifecycle.guards import guarded
from smvae_ros.lifecycle.process import refuse_arguments

from smvae_core.errors import ConfigError

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


def ended(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_program_stops_on_a_signal_and_ignores_its_repetition() -> None:
    for name in ("SIGINT", "SIGTERM"):
        code = PROGRAM.format(name=name)
        done = ended(code)
        assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_a_program_still_loads_ends_it_without_a_word(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "slow.py").write_text("import time; print('loading', flush=True); time.sleep(600)")
    code = "import sys; from smvae_ros.lifecycle.entry import program; sys.exit(program('slow')())"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(getattr(signal, name))
        assert process.communicate(timeout=240) == ("", "")
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0


def test_programs_load_what_they_need_only_once_signals_are_heard() -> None:
    code = (
        "import sys, smvae_ros.programs, smvae_tools.programs; "
        "assert not {'rclpy', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], timeout=240, check=True)


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        (["bundle:=/x"], "bundle:=/x"),
        (["--ros-args", "-p", "bundle:=/x", "--", "--bundle", "/x"], "--bundle"),
        (["simulated", "--ros-args", "--log-level", "info"], "simulated"),
    ],
)
def test_an_argument_that_is_no_parameter_is_refused(arguments: list[str], unknown: str) -> None:
    """ROS passes over it, and the program would run with another value."""
    with pytest.raises(ConfigError, match=f"unknown argument '{unknown}': parameters are given as"):
        refuse_arguments(arguments)
    refuse_arguments(["--ros-args", "-p", "bundle:=/x", "--"])


@pytest.mark.parametrize(
    "module", ["smvae_ros.perception_node", "smvae_tools.robot.simulated_robot"]
)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bundle:=/x"], "unknown argument"),
        (["--ros-args", "-p", "use_sim_time:=1"], "Trying to set parameter 'use_sim_time' to '1'"),
    ],
)
def test_a_program_that_refuses_an_argument_says_so_in_one_line(
    module: str, words: list[str], said: str
) -> None:
    """Also one that rclpy refuses while the node is made."""
    code = f"import sys; from {module} import main; sys.exit(main())"
    done = ended(code, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].partition(": ")[2].startswith(said)
    assert "Traceback" not in done.stderr


def test_a_configure_is_given_up_after_one_that_failed() -> None:
    """One place in the code may log at one level only, says rclpy."""

    class Node:
        failure = ""
        errors = iter((ConfigError("wrong"), Interrupted()))

        def get_logger(self) -> Any:
            return get_logger("smvae")

        @guarded(otherwise=TransitionCallbackReturn.FAILURE)
        def on_configure(self, state: Any) -> TransitionCallbackReturn:
            raise next(self.errors)

    node = Node()
    for reason in ("wrong", "given up: the process was told to end"):
        assert node.on_configure(None) is TransitionCallbackReturn.FAILURE
        assert node.failure == reason


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
    done = ended(code, *words)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "ROS does not start" in line
    assert what in line
    assert "Traceback" not in done.stderr
