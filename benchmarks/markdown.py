"""Markdown tables of estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.paired import Estimate


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def spell(estimate: Estimate, sign: bool = False, digits: int = 2) -> str:
    """Return 'mean ± standard error', with the error over seeds behind a slash where there is."""
    mean = f"{estimate.mean:{'+' if sign else ''}.{digits}f}"
    seeds = "" if math.isnan(estimate.seed_error) else f" / {estimate.seed_error:.{digits}f}"
    return f"{mean} ± {estimate.item_error:.{digits}f}{seeds}"
