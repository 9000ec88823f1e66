"""The contender's side: makes an object and plays a turn for each line that it is sent.

    python -m benchmarks.turns.serve MODULE:CLASS '{"argument": 1}'

Standard library alone, so that it runs in the environment of any package. What an object's package
prints goes to stderr; stdout carries one JSON line for each turn.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

_TICKS = os.sysconf("SC_CLK_TCK")


class Playing(Protocol):
    """What a contender's class offers; its `begin()`, if any, is called untimed before a turn."""

    about: dict[str, Any]
    """What a reader must know of it, as JSON: versions, sizes."""

    def turn(self) -> dict[str, Any]:
        """Do a turn's work; return what came of it, e.g. how many samples."""


def cpu_s() -> float:
    """Return the CPU time [s] of this process and of all its living descendants."""
    total, waiting = time.process_time(), _children(os.getpid())
    while waiting:
        pid = waiting.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / _TICKS
        except OSError:  # it ended
            continue
        waiting += _children(pid)
    children = os.times()
    return total + children.children_user + children.children_system


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread ended
            found += map(int, path.read_text().split())
    return found


def memory_mb(what: str = "VmHWM") -> float:
    """Return the memory of this process [MB]: 'VmHWM' its peak, 'VmRSS' what it has now."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def timed_turn(player: Playing) -> dict[str, Any]:
    """Return what a turn gives, with its wall and CPU time [s] and the process's peak memory."""
    getattr(player, "begin", lambda: None)()
    wall, cpu = time.perf_counter(), cpu_s()
    found = player.turn()
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": cpu_s() - cpu,
        "peak_mb": memory_mb(),
        **found,
    }


def main() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module, _, name = sys.argv[1].partition(":")
    player = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    print(json.dumps(player.about), file=answers)
    for _ in sys.stdin:
        print(json.dumps(timed_turn(player)), file=answers)


if __name__ == "__main__":
    main()
