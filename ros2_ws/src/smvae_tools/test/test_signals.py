"""Each program ends once: what launch and a terminal both send does not change its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Sends the first SIGINT once the program takes it, the second after its `main`. A handler in
#: Python would hear that one, but the interpreter takes such handlers away before its own end.
PROGRAM = """
import os, signal, sys, threading, time
from {module} import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it

def interrupt():
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
status = main()
for number in (signal.SIGINT, signal.SIGTERM):
    assert signal.getsignal(number) is signal.SIG_IGN, signal.getsignal(number)
os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("module", "words", "status"),
    [
        ("smvae_tools.robot.simulated_robot", "", 0),
        ("smvae_tools.robot.sensor_schedule", "", 130),
        ("smvae_tools.operators.imperfect_operator", "", 0),
        ("smvae_tools.operators.shared_autonomy_demo", "", 1),
        ("smvae_tools.bags.recorder", "FOLDER/bag", 0),
        ("smvae_ros.perception_node", "", 0),
        ("smvae_ros.perception_node", "--ros-args --params-file FOLDER/none.yaml", 1),
        ("smvae_tools.bags.player", "FOLDER/none", 1),
        ("smvae_tools.bags.player", "FOLDER --ros-args --params-file FOLDER/none.yaml", 1),
        ("smvae_tools.bags.recorder", "FOLDER/bag --ros-args --params-file FOLDER/none.yaml", 1),
        ("smvae_tools.robot.sensor_schedule", "--ros-args --params-file FOLDER/none.yaml", 1),
        ("smvae_tools.viewer", "--ros-args --params-file FOLDER/none.yaml", 1),
    ],
)
def test_a_second_signal_does_not_change_the_exit_status(
    tmp_path: Path, domain: int, module: str, words: str, status: int
) -> None:
    arguments = words.replace("FOLDER", str(tmp_path)).split()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | {"ROS_DOMAIN_ID": str(domain)},
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
