"""What commands of benchmarks share: their parser, what they add to results, how they fail."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from smvae_core.errors import SMVAEError
from smvae_core.files import write_text

T = TypeVar("T")


def options_of(options: type[T], module: str, about: str | None) -> T:
    """Return the options that the command line of `python -m MODULE` gives."""
    import tyro  # not in every environment of a benchmark

    from smvae_training.commands.arguments import thinned

    with thinned():
        return tyro.cli(options, prog=f"python -m {module}", description=about)


def parser_of(module: str, about: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m MODULE`; its help shows the text as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_turns(parser: argparse.ArgumentParser) -> None:
    """Let a command say how many turns are played, and what is locked during each."""
    parser.add_argument("--turns", type=int, default=5, help="of each contender (default: 5)")
    parser.add_argument(
        "--lock", type=Path, help="file to lock for each round, where benchmarks share a machine"
    )


def add_result(path: Path, keys: tuple[str, ...], value: Any) -> None:
    """Put a value into a JSON file, below these keys. What else the file holds stays.

    Raises:
        OSError: If the file cannot be written.
    """
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    place = found
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = value
    write_text(path, json.dumps(found, indent=1) + "\n")


def status_of(name: str, work: Callable[[], object]) -> int:
    """Do the work of a command; return its exit status. An error of ours is one line, and 2."""
    try:
        work()
    except SMVAEError as err:
        print(f"{name}: {err}", file=sys.stderr)
        return 2
    return 0


def main_with_ros(package: str) -> int:
    """Run `main` of a package's module `measure`; where ROS is not there, say so, and return 2."""
    try:
        for name in ("rclpy", "smvae_msgs.msg"):
            importlib.import_module(name)
    except ImportError as err:
        print(
            f"python -m {package}: {err}: `make ros` once, then `. scripts/ros_env.sh`",
            file=sys.stderr,
        )
        return 2
    return int(importlib.import_module(f"{package}.measure").main())
