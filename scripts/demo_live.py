"""The demo's live stage: robot, perception node, recorder and schedule as processes over DDS."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo_stages import StageFailed
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from smvae_datasets.simulation.ros_domain import free_domain

STATES = 16
WARM_UP_S = 3.0
#: Latents per second at most: the report makes each of them again, offline.
LATENTS_HZ = 30.0
_PR_SET_PDEATHSIG = 1
_BLOCKED = 'raise ImportError("torch is blocked: a robot does not have it")\n'


def ros_environment(root: Path) -> dict[str, str]:
    """Return this environment with ROS, the workspace and the Fast DDS profile for large images."""
    script = ["bash", "-c", '. "$0" && env -0', str(root / "scripts/ros_env.sh")]
    shell = subprocess.run(script, capture_output=True, check=False)
    if shell.returncode or not (root / "ros2_ws/install/local_setup.bash").is_file():
        said = shell.stderr.decode(errors="replace").strip()
        raise StageFailed("live", f"no ROS workspace: run scripts/build_workspace.sh. {said}")
    lines = shell.stdout.decode().split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def isolated(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment on a domain of its own, which talks to this machine alone."""
    return environment | {
        "ROS_DOMAIN_ID": str(free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass
class Processes:
    """Processes that end with this block, in the reverse order unless told otherwise."""

    logs: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    forced: list[str] = field(default_factory=list)
    _started: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> Processes:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self.running)):
            self.end(name)

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> int:
        """Start a process that writes to logs/NAME.log; returns its id.

        It has a session of its own, so that Ctrl-C reaches us alone and we end it in order, and the
        kernel ends it should we die.
        """
        with (self.logs / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.running[name] = process
        self._started[name] = time.monotonic()
        return process.pid

    def watch(self, stage: str, but: str = "") -> None:
        """Raise if a process other than `but` ended by itself."""
        for name, process in self.running.items():
            code = process.poll()
            if code is not None and name != but:
                raise StageFailed(stage, f"{name} ended with {code}: {self.last_words(name)}")

    def said(self, name: str) -> str:
        """Return what a process has written so far."""
        return (self.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def last_words(self, name: str) -> str:
        lines = self.said(name).strip().splitlines()
        return f"{' | '.join(lines[-3:])} ({self.logs / f'{name}.log'})"

    def end(self, name: str, timeout_s: float = 20.0) -> None:
        """Ask a process to end, insist if it must be, and note how it went."""
        process = self.running.pop(name)
        seconds = time.monotonic() - self._started[name]
        cores = cpu_seconds(process.pid) / max(seconds, 1e-9)
        for number, patience in (
            (signal.SIGINT, timeout_s),
            (signal.SIGTERM, 5.0),
            (signal.SIGKILL, 5.0),
        ):
            if process.poll() is None:
                if number != signal.SIGINT:
                    self.forced.append(f"{name}: {number.name}")
                process.send_signal(number)
                try:
                    process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
        self.facts[name] = {"exit_code": process.poll(), "cpu_cores": round(cores, 3)}


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a running process; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def without_torch(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """Return an environment whose Python cannot import torch, by a package that raises instead."""
    package = folder / "torch"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(_BLOCKED, encoding="utf-8")
    path = os.pathsep.join(p for p in (str(folder), environment.get("PYTHONPATH", "")) if p)
    return environment | {"PYTHONPATH": path}


def torch_facts(pid: int, environment: dict[str, str]) -> dict[str, Any]:
    """Return whether torch can be imported in that environment, and what the process has mapped."""
    probe = subprocess.run(
        [sys.executable, "-c", "import torch"], env=environment, capture_output=True, check=False
    )
    said = probe.stderr.decode(errors="replace").strip().splitlines()
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    files = {line.split()[-1] for line in maps.splitlines()}
    mapped = [f for f in files if "/torch/" in f or "libtorch" in f]
    return {
        "import_fails": probe.returncode != 0,
        "import_says": said[-1] if said else "",
        "libraries_mapped": sorted(mapped),
    }


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """Settings of the live stage."""

    dwell_s: float
    """Seconds per state of the sensors."""
    robot_seed: int
    """Of the simulated robot, other than that of the training episodes."""
    schedule_seed: int


def run_live(root: Path, out: Path, bundle: Path, options: LiveOptions) -> None:
    """Record the bag `out`/bag and note the processes in `out`/live.json.

    Raises:
        StageFailed: If a process dies or refuses.
    """
    bag, notes = out / "bag", out / "live.json"
    shutil.rmtree(bag, ignore_errors=True)
    notes.unlink(missing_ok=True)
    environment = isolated(ros_environment(root))
    blocked = without_torch(environment, out / "no_torch")
    install = root / "ros2_ws/install"
    node_programs = install / "smvae_ros/lib/smvae_ros"
    programs = install / "smvae_tools/lib/smvae_tools"
    robot = ["--ros-args", "-p", f"seed:={options.robot_seed}"]
    node = ["--ros-args", "-p", f"bundle:={bundle.resolve()}", "-p", f"max_rate_hz:={LATENTS_HZ}"]
    schedule = ["--dwell", str(options.dwell_s), "--warm-up", str(WARM_UP_S)]
    schedule += ["--seed", str(options.schedule_seed), "--recorder", "/bag_recorder"]
    with Processes(out / "logs") as processes:
        begin = processes.start
        begin("simulated_robot", [str(programs / "simulated_robot"), *robot], environment)
        pid = begin("perception_node", [str(node_programs / "perception_node"), *node], blocked)
        begin("bag_recorder", [str(programs / "bag_recorder"), str(bag)], environment)
        begin("sensor_schedule", [str(programs / "sensor_schedule"), *schedule], environment)
        _follow(processes, options)
        facts = torch_facts(pid, blocked)
        for name in ("sensor_schedule", "bag_recorder", "perception_node", "simulated_robot"):
            processes.end(name, timeout_s=60.0 if name == "bag_recorder" else 20.0)
    left = [n for n, f in processes.facts.items() if f["exit_code"] is None]
    data = {
        "domain": int(environment["ROS_DOMAIN_ID"]),
        "processes": processes.facts,
        "forced": processes.forced,
        "left_over": left,
        "torch_on_the_robot": facts,
        "versions": ros_versions(environment),
        "schedule": vars(options),
    }
    notes.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _follow(processes: Processes, options: LiveOptions) -> None:
    """Show progress until the schedule's process ends; fail if any other ends before it."""
    expected_s = WARM_UP_S + STATES * options.dwell_s + 8.0
    name = "sensor_schedule"
    walker = processes.running[name]
    columns = (TextColumn("    {task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("switching sensors", total=expected_s)
        start = time.monotonic()
        while walker.poll() is None:
            processes.watch("live", but=name)
            progress.update(task, completed=min(time.monotonic() - start, expected_s))
            time.sleep(0.2)
    if walker.returncode:
        last = processes.last_words(name)
        raise StageFailed("live", f"{name} ended with {walker.returncode}: {last}")


def ros_versions(environment: dict[str, str]) -> dict[str, str]:
    """Return the versions that the live numbers depend on."""
    found = {"rmw": environment.get("RMW_IMPLEMENTATION", "")}
    if "ROS_DISTRO" in environment:
        found["ros"] = environment["ROS_DISTRO"]
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    wanted = ("ros-jazzy-rclpy", "onnxruntime", "onnxruntime-gpu", "mujoco", "rosbags")
    return found | {name: installed[name] for name in wanted if name in installed}
