"""The operations that are timed, the same for every contender; standard library and NumPy alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from smvae_core.modality import all_subsets

#: Of one operation in a turn: so long, but at least so often.
SECONDS, FEWEST = 0.15, 15
Operation = Callable[[], Any]


def subset_label(names: tuple[str, ...]) -> str:
    """Return how a subset's update is called: 'subset/rgb+force'."""
    return f"subset/{'+'.join(names)}"


def subset_labels(names: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """Return the label of every subset."""
    return {subset: subset_label(subset) for subset in all_subsets(names)}


def timed(operations: Mapping[str, Operation]) -> dict[str, dict[str, float]]:
    """Return the median wall and CPU time [ms] of each operation.

    The median over many runs of one stays what it is where others take the core now and then.
    """
    wall_ms, cpu_ms = {}, {}
    for label, operation in operations.items():
        walls: list[float] = []
        cpus: list[float] = []
        end = time.perf_counter() + SECONDS
        while len(walls) < FEWEST or time.perf_counter() < end:
            cpu, wall = time.process_time(), time.perf_counter()
            operation()
            walls.append(1e3 * (time.perf_counter() - wall))
            cpus.append(1e3 * (time.process_time() - cpu))
        wall_ms[label], cpu_ms[label] = statistics.median(walls), statistics.median(cpus)
    return {"wall_ms": wall_ms, "cpu_ms": cpu_ms}
