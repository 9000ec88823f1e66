"""Whether each pooling counts evidence, on linear sensors.

`python -m benchmarks.paper.ablation_toy`.

For every pooling: variance of its posterior over the exact one, by number of sensors of independent
noise, 1 being right, and its extremes over single subsets and latent dimensions. Then the same with
exact copies of one sensor, which no pooling is told of: evidence that is counted twice shows as a
value below 1. Minutes on one CPU core; the numbers go to `benchmarks/results/linear-gaussian.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks.command import options_of
from benchmarks.paper.linear_gaussian import linear_gaussian, subset_variances, train_encoder
from benchmarks.tables.markdown import table
from smvae_core.files import write_text
from smvae_core.model.config import Pooling
from smvae_training.hardware import source_version, versions

NAME = "linear-gaussian.json"


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    """What to train; everything by default."""

    poolings: tuple[Pooling, ...] = get_args(Pooling)
    seeds: tuple[int, ...] = (0, 1)
    sensors: int = 8
    copies: int = 3
    """Exact copies of the last sensor in the second part, which leaves 5 of their own."""
    steps: int = 1000
    out: Path = Path(__file__).parents[1] / "results" / NAME


def row(pooling: Pooling, options: ToyOptions, copies: int) -> dict[str, Any]:
    """Train one encoder per seed and return its variance over the exact one.

    By number of sensors, means over seeds; and the extremes of any one subset, latent dimension and
    seed.
    """
    toy = linear_gaussian(options.sensors - copies, copies=copies)
    ratios: list[dict[int, float]] = []
    extremes: list[float] = []
    for seed in options.seeds:
        encoder = train_encoder(toy, pooling, steps=options.steps, seed=seed)
        variances = subset_variances(toy, encoder)
        ratios.append(variances.by_count())
        extremes += variances.extremes()
    return {
        "pooling": pooling,
        "copies": copies,
        "ratio": {k: float(np.mean([r[k] for r in ratios])) for k in ratios[0]},
        "worst_deviation": float(np.max([abs(v - 1.0) for r in ratios for v in r.values()])),
        "extremes": (float(np.min(extremes)), float(np.max(extremes))),
    }


def main() -> int:
    """Train all, print a table each, write the numbers, and return the exit status."""
    options = options_of(ToyOptions, "benchmarks.paper.ablation_toy", __doc__)
    torch.set_num_threads(1)
    rows = []
    for copies in (0, options.copies):
        print(f"\n{options.sensors} sensors, {copies} of them copies: variance / exact, by count")
        heads = [*range(1, options.sensors + 1), "least", "most"]
        print(" ".join(["pooling       ", *map("{:>6}".format, heads)]))
        for pooling in options.poolings:
            rows.append(row(pooling, options, copies))
            values = [*rows[-1]["ratio"].values(), *rows[-1]["extremes"]]
            print(" ".join([f"{pooling:14}", *map("{:6.3f}".format, values)]), flush=True)
    record = {
        "steps": options.steps,
        "seeds": options.seeds,
        "rows": rows,
        "code": source_version(),
        "versions": versions(),
    }
    write_text(options.out, json.dumps(record, indent=2) + "\n")
    return 0


def toy_section(folder: Path) -> str:
    """Return what `benchmarks.paper.ablation_toy` measured, or that it has not been run."""
    title = "## Linear sensors of one Gaussian latent: variance over the exact one"
    path = folder / NAME
    if not path.is_file():
        return f"{title}\n\nNot run yet: `python -m benchmarks.paper.ablation_toy`."
    found = json.loads(path.read_text(encoding="utf-8"))
    parts = [
        title,
        f"`python -m benchmarks.paper.ablation_toy` trained every set encoder for {found['steps']} "
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


if __name__ == "__main__":
    sys.exit(main())
