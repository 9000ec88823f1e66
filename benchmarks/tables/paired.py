"""Means over items and seeds, and paired differences between two methods, with standard errors.

N items, S seeds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SMVAEError
from smvae_training.evaluate.likelihood.summary import standard_error


class ResultsError(SMVAEError, ValueError):
    """Result files that cannot stand in one table."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """All seeds of one method on one data set."""

    method: str
    seeds: tuple[int, ...]
    numbers: tuple[dict[str, Any], ...]
    """Content of each seed's JSON."""
    items: dict[str, NDArray[np.float64]]
    """Quantity -> (S, N), from the .npz files."""


@dataclass(frozen=True)
class Estimate:
    """A mean with two standard errors: over items, and over seeds (NaN for one seed)."""

    mean: float
    item_error: float
    seed_error: float


def read_results(folder: Path, experiment: str) -> dict[str, Results]:
    """Return the results of every method that has some, methods in alphabetical order.

    Raises:
        ResultsError: If runs of one experiment differ in budget, items or samples.
    """
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob(f"{experiment}.*.seed*.json")):
        _, method, seed = path.stem.rsplit(".", 2)
        found.setdefault(method, {})[int(seed.removeprefix("seed"))] = path
    results = {m: _read(m, dict(sorted(paths.items()))) for m, paths in found.items()}
    _check_equal_budgets(experiment, results)
    return results


def _read(method: str, paths: dict[int, Path]) -> Results:
    numbers = tuple(json.loads(p.read_text(encoding="utf-8")) for p in paths.values())
    arrays = [dict(np.load(p.with_suffix(".npz"))) for p in paths.values()]
    shared = [k for k in arrays[0] if all(k in a for a in arrays)]
    items = {k: np.stack([a[k].astype(np.float64) for a in arrays]) for k in shared}
    return Results(method=method, seeds=tuple(paths), numbers=numbers, items=items)


def _check_equal_budgets(experiment: str, results: dict[str, Results]) -> None:
    budgets = {
        (n["budget"]["steps"], n["budget"]["batch_size"], len(r.items["index"][0]))
        for r in results.values()
        for n in r.numbers
    }
    if len(budgets) > 1:
        raise ResultsError(
            f"{experiment}: runs of different (steps, batch, items) never share a table: {budgets}"
        )


def summarise(values: NDArray[np.float64]) -> Estimate:
    """Return the mean of (S, N) values; items are scored once per seed, so seeds are averaged."""
    per_item = values.mean(axis=0)
    return Estimate(
        float(per_item.mean()), standard_error(per_item), standard_error(values.mean(axis=1))
    )


def difference(ours: Results, other: Results, key: str) -> Estimate:
    """Return the mean of `paired_values`, with errors over items and seeds."""
    return summarise(paired_values(ours, other, key))


def paired_values(ours: Results, other: Results, key: str) -> NDArray[np.float64]:
    """Return ours - other (S, N), paired by seed and item, over the seeds that both have.

    Raises:
        ResultsError: If they were scored on other items or share no seed.
    """
    seeds = _shared_seeds(ours, other)
    if not seeds:
        raise ResultsError(f"{ours.method} and {other.method} have no seed in common")
    a = np.stack([ours.items[key][ours.seeds.index(s)] for s in seeds])
    b = np.stack([other.items[key][other.seeds.index(s)] for s in seeds])
    if not np.array_equal(ours.items["index"][0], other.items["index"][0]):
        raise ResultsError(f"{ours.method} and {other.method} were scored on other items")
    return np.asarray(a - b)


def paired_name(ours: Results, other: Results) -> str:
    """Return the other method, and the seeds of a difference where they are not all of ours."""
    seeds = _shared_seeds(ours, other)
    return other.method if seeds == [*ours.seeds] else f"{other.method}, {name_seeds(seeds)} alone"


def name_seeds(seeds: Sequence[int]) -> str:
    """Return 'seed 0' or 'seeds 0, 1'."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _shared_seeds(ours: Results, other: Results) -> list[int]:
    return [s for s in ours.seeds if s in other.seeds]
