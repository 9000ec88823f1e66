"""Markdown tables of estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from benchmarks.tables.paired import Estimate

T = TypeVar("T")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def table_of(items: Iterable[T], columns: Mapping[str, Callable[[T], str]]) -> str:
    """Return a Markdown table with a row for each item; columns by their heading."""
    return table(list(columns), [[cell(item) for cell in columns.values()] for item in items])


def spell(estimate: Estimate, sign: bool = False, digits: int = 2) -> str:
    """Return 'mean ± standard error', with the error over seeds behind a slash where there is."""
    mean = f"{estimate.mean:{'+' if sign else ''}.{digits}f}"
    seeds = "" if math.isnan(estimate.seed_error) else f" / {estimate.seed_error:.{digits}f}"
    return f"{mean} ± {estimate.item_error:.{digits}f}{seeds}"
