"""Pegs seated in the simulated cell, by operator, failure of sensors and method.

    python -m benchmarks.closed_loop alone blind ceiling --attempts 200
    python -m benchmarks.closed_loop ours --bundle BUNDLE --attempts 200 --workers 2
    python -m benchmarks.closed_loop concat --bundle RUNS/concat   # of benchmarks.closed_loop.train
    python -m benchmarks.closed_loop ours --bundle BUNDLE --attempts 200 --ray auto
    python -m benchmarks.closed_loop --report

Methods: `alone`, the operator's command within the same limits; `blind`, the controller with its
estimates withheld; `ceiling`, the controller fed with the truth; any other name, the controller fed
by the latents of --bundle, or by the learned baseline there. In simulated time, faster than real
time. Attempts with one number are the same for every method and failure: cell, start, aim and
tremor. What is there is not run again. Writes benchmarks/results/closed-loop-METHOD.json; the
report is of all of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.closed_loop.methods import identity, make
from benchmarks.closed_loop.report import ALIVE, WITHOUT_SENSORS, draw, read_stores, section
from benchmarks.closed_loop.store import Cell, Store
from benchmarks.command import parser_of, status_of
from smvae_core.assistance.controller import Settings
from smvae_datasets.ray_cluster import LOCAL
from smvae_datasets.simulation.closed_loop.failures import DECIDING, FAILURES
from smvae_datasets.simulation.closed_loop.workers import Task, played
from smvae_datasets.simulation.stick_operator import OPERATORS
from smvae_training.hardware import source_version, versions

RESULTS = Path(__file__).parents[1] / "results"
PICTURE = Path(__file__).parents[2] / "docs" / "closed_loop.png"
#: Seconds between writings of the results.
WRITE_EVERY_S = 20.0


def run(
    method: str, given: argparse.Namespace, failures: Sequence[str], operators: Sequence[str]
) -> None:
    """Make the attempts of one method that are missing."""
    bundle = None if method in WITHOUT_SENSORS else given.bundle
    about: dict[str, object] = {"method": method, "seed": given.seed, "settings": _settings()}
    if bundle is not None:
        about["bundle"] = identity(bundle)
        if given.keep_suspects:
            about["leave_out_suspects"] = False
        if given.memory_s is not None:
            about["memory_s"] = given.memory_s
    build = partial(make, leave_out=not given.keep_suspects, memory_s=given.memory_s)
    store = Store(given.out / f"closed-loop-{method}.json", about)
    store.note({"code": source_version(), "versions": versions()})
    chosen = failures if bundle is not None else [ALIVE]
    cells: list[Cell] = [(failure, operator) for failure in chosen for operator in operators]
    tasks = [
        Task(failure=failure, operator=operator, number=number)
        for number in range(given.attempts)
        for failure, operator in cells
        if number not in store.cells.get((failure, operator), {})
    ]
    print(f"{method}: {len(tasks)} attempts to make, the hours after one of each cell", flush=True)
    workers = given.workers or (0 if given.ray else 1)
    begin = written = time.monotonic()
    for done, (task, outcome) in enumerate(
        played(tasks, method, bundle, given.seed, workers, build, given.ray), 1
    ):
        store.add((task.failure, task.operator), task.number, outcome)
        now = time.monotonic()
        if done == min(len(cells), len(tasks)) or now - written > WRITE_EVERY_S:
            hours = (now - begin) / done * (len(tasks) - done) / 3600.0
            print(f"{method}: {done} of {len(tasks)} attempts, {hours:.2f} h left", flush=True)
            store.write()
            written = now
    if tasks:
        store.write()


def _settings() -> dict[str, object]:
    """Return the controller's settings as JSON gives them back."""
    return {
        part: {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
        for part, values in asdict(Settings()).items()
    }


def main() -> int:
    """Run what is asked for, then report."""
    parser = parser_of("benchmarks.closed_loop", __doc__)
    parser.add_argument("methods", nargs="*", help="alone, blind, ceiling, or a name for --bundle")
    parser.add_argument(
        "--bundle", type=Path, help="of a method that perceives, or its folder of .train"
    )
    parser.add_argument(
        "--keep-suspects", action="store_true", help="leave_out_suspects of the node is false"
    )
    parser.add_argument("--memory-s", type=float, help="memory_s of the node (default: its own)")
    parser.add_argument("--attempts", type=int, default=20, help="of each cell")
    parser.add_argument("--failures", nargs="*", choices=[*FAILURES], default=[*DECIDING])
    parser.add_argument("--operators", nargs="*", choices=[*OPERATORS], default=[*OPERATORS])
    parser.add_argument("--seed", type=int, default=500, help="cells, starts and operators")
    parser.add_argument(
        "--workers", type=int, help="processes (default: 1; with --ray one per core of the cluster)"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const=LOCAL,
        default="",
        metavar="ADDRESS",
        help="play on a Ray cluster: address, 'auto', or 'local' (without ADDRESS), started here",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--report", action="store_true", help="print tables, draw the picture")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for method in given.methods:
        if method not in WITHOUT_SENSORS and given.bundle is None:
            parser.error(f"method '{method}' perceives by a bundle: give --bundle")

    def work() -> None:
        for method in given.methods:
            run(method, given, given.failures, given.operators)
        if given.report:
            print(section(given.out))
            draw(read_stores(given.out), given.picture)

    return status_of("closed_loop", work)


if __name__ == "__main__":
    sys.exit(main())
