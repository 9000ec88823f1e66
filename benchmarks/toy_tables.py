"""Tables of the linear-Gaussian toy: does a set encoder count evidence?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.markdown import table

NAME = "linear-gaussian.json"


def toy_section(folder: Path) -> str:
    """Return what `benchmarks.ablation_toy` measured, or that it has not been run."""
    title = "## Linear sensors of one Gaussian latent: variance over the exact one"
    path = folder / NAME
    if not path.is_file():
        return f"{title}\n\nNot run yet: `python -m benchmarks.ablation_toy`."
    found = json.loads(path.read_text(encoding="utf-8"))
    parts = [
        title,
        f"`python -m benchmarks.ablation_toy` trained every set encoder for {found['steps']} "
        f"steps. Values are means of {len(found['seeds'])} seeds over all subsets of each size, "
        "items and dimensions. 'least' and 'most' are of one subset, dimension and seed. 1 is "
        "exact, and above 1 is too unsure. Bold: within 10 % of 1 at every count. "
        f"Code {found['code']}.",
    ]
    for copies in sorted({row["copies"] for row in found["rows"]}):
        rows = [row for row in found["rows"] if row["copies"] == copies]
        counts = list(rows[0]["ratio"])
        about = f"{len(counts)} sensors with noise of their own:"
        if copies:
            about = (
                f"{len(counts) - copies} such sensors and {copies} exact copies of the last, of "
                "which no encoder is told (shown, not required):"
            )
        header = ["pooling", *(f"{count} observed" for count in counts), "least", "most"]
        parts += [about, table(header, [_row(row) for row in rows])]
    return "\n\n".join(parts)


def _row(row: Mapping[str, Any]) -> list[str]:
    values = [*row["ratio"].values(), *row["extremes"]]
    within = all(0.9 < value < 1.1 for value in row["ratio"].values())
    name = f"**{row['pooling']}**" if within else row["pooling"]
    return [name, *(f"{value:.3f}" for value in values)]
