"""Whether each pooling counts evidence, on linear sensors: `python -m benchmarks.ablation_toy`.

For every pooling: variance of its posterior over the exact one, by number of sensors of independent
noise, 1 being right, and its extremes over single subsets and latent dimensions. Then the same with
exact copies of one sensor, which no pooling is told of: evidence that is counted twice shows as a
value below 1. Minutes on one CPU core; the numbers go to `benchmarks/results/linear-gaussian.json`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import tyro

from benchmarks.linear_gaussian import linear_gaussian, subset_variances, train_encoder
from benchmarks.toy_tables import NAME
from smvae_core.model.config import Pooling
from smvae_training.hardware import source_version, versions
from smvae_training.run import write_text


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    """What to train; everything by default."""

    poolings: tuple[Pooling, ...] = get_args(Pooling)
    seeds: tuple[int, ...] = (0, 1)
    sensors: int = 8
    copies: int = 3
    """Exact copies of the last sensor in the second part, which leaves 5 of their own."""
    steps: int = 1000
    out: Path = Path(__file__).parent / "results" / NAME


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
    options = tyro.cli(ToyOptions, prog="python -m benchmarks.ablation_toy", description=__doc__)
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


if __name__ == "__main__":
    sys.exit(main())
