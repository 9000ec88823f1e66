"""The demo's last live stage: an operator seats pegs with help, robot and all over DDS."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_live import Processes, isolated, ros_environment, without_torch
from demo_stages import StageFailed
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

#: How long the node may take to load its model, and an attempt from its start to its end [s].
READY_S, ATTEMPT_S = 60.0, 45.0
STAGE = "assist"
_ENDED = re.compile(r"attempt (\d+): (seated|not seated) in ([0-9.]+) s")


@dataclass(frozen=True, kw_only=True)
class AssistOptions:
    """Settings of the stage."""

    attempts: int
    robot_seed: int
    """Of the simulated robot, other than that of the training episodes."""
    operator_error_m: float = 0.01
    """How far beside the hole the operator aims."""
    operator_error_rad: float = 0.15


def run_assist(root: Path, out: Path, bundle: Path, options: AssistOptions) -> None:
    """Play the attempts, and note in `out`/assisted.json how each ended.

    Raises:
        StageFailed: If a process dies, or attempts do not end.
    """
    notes = out / "assisted.json"
    notes.unlink(missing_ok=True)
    environment = isolated(ros_environment(root))
    install = root / "ros2_ws/install"
    node = install / "smvae_ros/lib/smvae_ros/perception_node"
    tools = install / "smvae_tools/lib/smvae_tools"
    its_bundle = {"bundle": bundle.resolve()}
    # one cell for all attempts: the robot begins anew only after this many steps of 50 ms
    steps = round(options.attempts * ATTEMPT_S / 0.05)
    robot = {"seed": options.robot_seed, "command_topic": "command", "episode_steps": steps}
    errors = {"error_m": options.operator_error_m, "error_rad": options.operator_error_rad}
    blocked = without_torch(environment, out / "no_torch")
    with Processes(out / "logs" / STAGE) as processes:
        begin = processes.start
        begin("perception_node", _command(node, its_bundle), blocked)
        begin("shared_autonomy_demo", _command(tools / "shared_autonomy_demo", its_bundle), blocked)
        _activate(processes, environment)
        begin("imperfect_operator", _command(tools / "imperfect_operator", errors), environment)
        begin("simulated_robot", _command(tools / "simulated_robot", robot), environment)
        ended = _follow(processes, options.attempts)
        for name in reversed(list(processes.running)):
            processes.end(name)
    data = {
        "attempts": len(ended),
        "seated": sum(each["seated"] for each in ended),
        "each": ended,
        "processes": processes.facts,
        "forced": processes.forced,
    }
    notes.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _command(program: Path, parameters: dict[str, Any]) -> list[str]:
    words = [word for key, value in parameters.items() for word in ("-p", f"{key}:={value}")]
    return [str(program), "--ros-args", *words]


def _activate(processes: Processes, environment: dict[str, str]) -> None:
    """Bring the perception node up, and wait until it is."""
    name = "demo_activate"
    script = Path(__file__).with_name(f"{name}.py")
    processes.start(name, [sys.executable, str(script), "/smvae", str(READY_S)], environment)
    while processes.running[name].poll() is None:
        processes.watch(STAGE, but=name)
        time.sleep(0.2)
    if processes.running[name].returncode:
        processes.watch(STAGE)
    processes.end(name)


def _follow(processes: Processes, attempts: int) -> list[dict[str, Any]]:
    """Show progress until the operator has ended all attempts; return how each ended."""
    deadline = time.monotonic() + attempts * ATTEMPT_S
    columns = (TextColumn("    {task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("pegs, live", total=attempts)
        while True:
            ended = attempts_ended(processes.said("imperfect_operator"))
            progress.update(task, completed=len(ended))
            if len(ended) >= attempts:
                return ended[:attempts]
            processes.watch(STAGE)
            if time.monotonic() > deadline:
                last = processes.last_words("imperfect_operator")
                what = f"{len(ended)} of {attempts} attempts ended in {attempts * ATTEMPT_S:.0f} s"
                raise StageFailed(STAGE, f"{what}: {last}")
            time.sleep(0.2)


def attempts_ended(log: str) -> list[dict[str, Any]]:
    """Return the attempts that an operator's log tells of."""
    return [
        {"seated": how == "seated", "seconds": float(seconds)}
        for _, how, seconds in _ENDED.findall(log)
    ]
