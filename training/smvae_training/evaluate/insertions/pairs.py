"""Pairs of attempts, with help and without, and what came of them.

Both attempts of a pair have the same cell, start, operator and aim. In simulated time, faster than
real time. Writes OUT/insertions.json, a video and a contact sheet of some attempts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy.stats import binom

from smvae_core.bundle import Bundle
from smvae_datasets.simulation.closed_loop.outcome import Outcome
from smvae_datasets.simulation.closed_loop.workers import Task, played
from smvae_datasets.simulation.stick_operator import OPERATORS
from smvae_training.evaluate.insertions.film import film
from smvae_training.evaluate.results import write_json

RESULTS, VIDEO, SHEET = "insertions.json", "insertions.mp4", "insertions.png"
ALIVE = "all alive"
#: In every third attempt, in turn: what is lost half-way to the hole.
LOST = ("rgb lost midway", "cameras lost midway", "depth lost midway")
#: Names of the methods, with help and without.
HELPED, ALONE = "helped", "alone"


def plan(attempts: int, seed: int) -> list[Task]:
    """Return the attempts: operators in turn, and by `seed` which ones lose a camera half-way.

    About a third of them do.
    """
    lost = [LOST[turn % len(LOST)] for turn in range(attempts // 3)]
    failures = np.array([*lost, *[ALIVE] * (attempts - len(lost))])
    drawn = np.random.default_rng(seed).permutation(failures)
    operators = [*OPERATORS]
    return [
        Task(failure=str(failure), operator=operators[number % len(operators)], number=number)
        for number, failure in enumerate(drawn)
    ]


def play(bundle: Path, attempts: int, seed: int, workers: int) -> list[dict[str, Any]]:
    """Play all pairs, with a bar, and return a row of each.

    Raises:
        BundleError: If the bundle cannot be used, or tells nothing of the hole.
    """
    tasks = plan(attempts, seed)
    found: dict[str, dict[int, Outcome]] = {HELPED: {}, ALONE: {}}
    columns = (TextColumn("    {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
        for method, outcomes in found.items():
            bar = progress.add_task(f"pegs, {method}", total=attempts)
            given = bundle if method == HELPED else None
            for task, outcome in played(tasks, method, given, seed, workers):
                outcomes[task.number] = outcome
                progress.advance(bar)
    return [
        asdict(task) | {method: asdict(outcomes[task.number]) for method, outcomes in found.items()}
        for task in tasks
    ]


def shown(tasks: Sequence[Task]) -> list[Task]:
    """Return what the video shows, chosen before anything is played: the first of two failures."""
    firsts = [next((t for t in tasks if t.failure == f), None) for f in (ALIVE, LOST[1])]
    return [task for task in firsts if task is not None]


def insertions(bundle: Path, out: Path, attempts: int, seed: int, workers: int) -> dict[str, Any]:
    """Play, film and write everything; return the results.

    Raises:
        SMVAEError: If the bundle cannot be used, or a simulator is missing.
    """
    sha256 = Bundle.load(bundle).sha256
    pairs = play(bundle, attempts, seed, workers)
    filmed = shown(plan(attempts, seed))
    found = {
        "bundle": sha256,
        "seed": seed,
        "pairs": pairs,
        "shown": [asdict(task) for task in filmed],
        "no_video": film(bundle, filmed, seed, out / VIDEO, out / SHEET),
    }
    write_json(out / RESULTS, found)
    return found


def seated(pairs: Sequence[Mapping[str, Any]], method: str) -> int:
    """Return how many attempts of a method seated their peg."""
    return sum(pair[method]["seated"] for pair in pairs)


def least_seated(attempts: int, share: float = 0.9, confidence: float = 0.99) -> int:
    """Return the count that `share` of successes reaches with at least that probability."""
    return int(binom.ppf(1.0 - confidence, attempts, share))
