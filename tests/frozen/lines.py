"""What the project shows to its users, one line of text per promise, read from the code of today.

A line that was frozen may only go with an entry in `test_interfaces.CHANGES`; new lines are free.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import os
import re
import runpy
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from smvae_core.modality import all_subsets, subset_name
from smvae_core.presets import VISION_TOUCH

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "ros2_ws/src"
#: ROS programs that print a help, by the module that holds them.
ROS_PROGRAMS = {
    "bag_player": "smvae_tools.bags.player",
    "bag_recorder": "smvae_tools.bags.recorder",
    "security_policy": "smvae_tools.files.security_policy",
    "sensor_schedule": "smvae_tools.robot.sensor_schedule",
}
#: What draws the boxes of a help text, with and without Unicode.
_RULE = re.compile("[\u2500-\u257f]+|-{8,}")
#: argparse says an option's value after each of its names; from Python 3.13 on once.
VALUE_TWICE = re.compile(r"(--[\w-]+) (\S+), (--[\w-]+) \2")
#: Columns of a terminal that show one panel beneath the other.
COLUMNS = "100"


def help_entries(text: str) -> list[str]:
    """Return a help text as unwrapped entries: a line, and those indented deeper that follow it.

    What follows a colon is a list, each line an entry. Usage lines are left out: they change with
    every option that is added.
    """
    entries: list[str] = []
    begin: int | None = None
    for line in text.splitlines():
        shown = _RULE.sub(" ", line)
        if not shown.strip() or shown.split() != line.split():
            begin = None  # a rule, or nothing, ends an entry
        if not (words := shown.split()):
            continue
        indent = len(shown) - len(shown.lstrip())
        listed = entries and entries[-1].endswith(":") and not entries[-1].endswith("(default:")
        if begin is not None and indent > begin and not listed:
            entries[-1] += " " + " ".join(words)
        else:
            entries.append(" ".join(words))
            begin = indent
    return [entry for entry in entries if not entry.startswith("usage:")]


def printed(call: Callable[[], object]) -> str:
    """Return what a function prints until it ends or exits."""
    text = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    try:
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            call()
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return text.getvalue()


def command_help() -> Iterable[str]:
    """Yield the help of `smvae`, of each of its commands, and of the demo."""
    from smvae_training.cli import COMMANDS, main

    yield from _prefixed("smvae", printed(lambda: main(["--help"])))
    for name in COMMANDS:
        yield from _prefixed(f"smvae {name}", printed(lambda name=name: main([name, "--help"])))
    sys.path.insert(0, str(ROOT / "scripts"))
    demo = runpy.run_path(str(ROOT / "scripts/demo.py"))["main"]
    yield from _prefixed("demo", printed(lambda: demo(["--help"])))


def ros_help() -> Iterable[str]:
    """Yield the help of the ROS programs that have one; needs rclpy."""
    for program, module in ROS_PROGRAMS.items():
        main = importlib.import_module(module).main
        yield from _prefixed(program, printed(lambda main=main: main(["--help"])))


def _prefixed(command: str, text: str) -> list[str]:
    assert text, f"{command} --help prints nothing"
    entries = (VALUE_TWICE.sub(r"\1, \3 \2", entry) for entry in help_entries(text))
    return [f"{command} | {entry}" for entry in entries]


def parameters() -> Iterable[str]:
    """Yield every parameter of a node with the four modalities of the paper's robot."""
    from smvae_core.settings import table

    for name, parameter in table(VISION_TOUCH).items():
        limits = f"[{parameter.low}, {parameter.high}] {list(parameter.choices)}"
        kind = type(parameter.default).__name__
        yield (
            f"{name}: {kind} = {json.dumps(parameter.default)} in {limits}, "
            f"changes while {parameter.when} | {parameter.description}"
        )


def topics() -> Iterable[str]:
    """Yield every topic and service of that node."""
    from smvae_ros import topics as table

    for topic in (*table.inputs(VISION_TOUCH), *table.outputs(VISION_TOUCH), *table.STANDARD):
        types = " or ".join([topic.message_type, *topic.alternatives])
        yield (
            f"{topic.direction} {topic.name}: {types}, {topic.qos} | {topic.content}; {topic.rate}"
        )
    for service in table.SERVICES:
        yield f"service {service.name}: {service.service_type} | {service.purpose}"


def launch_arguments() -> Iterable[str]:
    """Yield every argument of every launch file, read as source: launch is not installed."""
    for path in sorted([*SOURCES.glob("*/launch/*.launch.py"), *ROOT.glob("launch/*.launch.py")]):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            if getattr(call.func, "id", "") not in ("declare", "DeclareLaunchArgument"):
                continue
            given = {str(k.arg): ast.unparse(k.value) for k in call.keywords}
            default = given.get("default_value", "required")
            choices = given.get("choices", "any")
            name = ast.literal_eval(call.args[0])
            meaning = " ".join(given["description"].split())
            yield f"{path.name} {name} = {default} in {choices} | {meaning}"


def executables() -> Iterable[str]:
    """Yield 'package executable' of everything that `ros2 run` starts."""
    for path in sorted(SOURCES.glob("*/setup.py")):
        with mock.patch("setuptools.setup") as setup:
            runpy.run_path(str(path))
        for entry in setup.call_args.kwargs.get("entry_points", {}).get("console_scripts", ()):
            yield f"{path.parent.name} {entry.split(' = ')[0]}"


def key_paths(value: Any, path: str = "") -> set[str]:
    """Return the paths of all keys of parsed JSON; names of subsets, and items, count as one."""
    subsets = {subset_name(s) for s in all_subsets(tuple(m.name for m in VISION_TOUCH))}
    found: set[str] = set()
    if isinstance(value, Mapping):
        for key, inner in value.items():
            general = "*" if key in subsets and "subsets" in path else str(key)
            step = f"{path}.{general}" if path else general
            found |= {step} | key_paths(inner, step)
    elif isinstance(value, list):
        for inner in value:
            found |= key_paths(inner, f"{path}[]")
    return found


def summary_keys(summary: Mapping[str, Any]) -> list[str]:
    """Return the key paths of the demo's summary.json, without those that name what went wrong."""
    open_ended = re.compile(r"(checks\[\]\.got|_causes|\.messages|\.lost|exceptions\[\])\.")
    return sorted(p for p in key_paths(summary) if not open_ended.search(p + "."))
