"""`smvae compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from smvae_training.commands.arguments import parse
from smvae_training.commands.tables import table

COMPARE_HELP = """Compare evaluated runs with the first of them, on the same held-out records.

For every target it shows by which share the error of a run is larger than that of the first one.
Negative is better. Each figure is a paired mean ± standard error over held-out groups. The terminal
shows the mean over the subsets of sensors that the runs share, and the largest subset; --out and
--json show every subset. Runs that were not scored on the same records are refused.

examples:
  smvae compare runs/old runs/new
  smvae compare runs/seed0 runs/seed1 runs/seed2 --out comparison.html
  smvae compare runs/old runs/new --json"""


def compare(arguments: list[str], prog: str) -> int:
    """Run `smvae compare`."""

    def options(
        runs: tyro.conf.Positional[tuple[Path, ...]],
        out: Path | None = None,
        json: tyro.conf.FlagCreatePairsOff[bool] = False,
    ) -> tuple[tuple[Path, ...], Path | None, bool]:
        """Collect the arguments.

        Args:
            runs: Run folders that `smvae evaluate` has scored, their evaluation folders, or
                results.json files; two or more.
            out: Write the comparison as this HTML file too.
            json: Print everything as JSON.
        """
        return runs, out, json

    runs, out, as_json = parse(options, arguments, prog, description=COMPARE_HELP)
    from smvae_training.evaluate.compare import compare as run
    from smvae_training.evaluate.compare import write_comparison
    from smvae_training.evaluate.results import json_text

    found = run(runs)
    if out is not None:
        write_comparison(out, found)
    if as_json:
        print(json_text(found), end="")
        return 0
    _print(found)
    if out is not None:
        print(out)
    return 0


def _print(found: dict[str, Any]) -> None:
    """Print means and the largest subset of each target, then a sentence for each run."""
    from rich.console import Console

    from smvae_training.evaluate.compare import (
        EACH_ALL,
        MEAN,
        in_words,
        over_groups,
        sentence,
    )

    labels = list(found["overall"])
    title = f"error beyond that of {found['reference']}, over {over_groups(found)}"
    rises = table(title, ("target", "observed", *labels))
    for target, subsets in found["targets"].items():
        shown = dict.fromkeys([MEAN, EACH_ALL, list(subsets)[-1]])
        for subset, of in ((s, subsets[s]) for s in shown if s in subsets):
            rises.add_row(target, subset, *(in_words(of[n]) if n in of else "" for n in labels))
    console = Console()
    console.print(rises)
    for target, why in found["left_out"].items():
        console.print(f"left out: {target}: {why}", highlight=False)
    for label, rise in found["overall"].items():
        console.print(sentence(label, rise, found["reference"]), highlight=False)
