"""`smvae readout`: what the latent says of the task, for nodes that act on it."""

from __future__ import annotations

from pathlib import Path

import tyro

from smvae_core.readout import Readout
from smvae_training.commands.arguments import parse

READOUT_HELP = """Fit a linear readout of the latent: peg-to-hole offset [m] and contact.

One map per subset of sensors, ridge and logistic regression, fitted on the training trajectories
and scored on the held-out ones. It is written into the bundle as readout.json, hashed in the
manifest; a node applies it with numpy alone (smvae_core.readout, docs/shared_autonomy.md). Given a
run, it is written there, and the next `smvae export` takes it along.

examples:
  smvae readout bundle --data episodes
  smvae readout run && smvae export run bundle"""


def readout(arguments: list[str], prog: str) -> int:
    """Run `smvae readout`."""

    def options(
        target: tyro.conf.Positional[Path], data: Path | None = None
    ) -> tuple[Path, Path | None]:
        """Collect the arguments.

        Args:
            target: Bundle written by `smvae export`, or run written by `smvae train`.
            data: The episodes that it was trained on; a run remembers where they were.
        """
        return target, data

    target, data = parse(options, arguments, prog, description=READOUT_HELP)
    from smvae_training.readout import fit_readout

    fitted, path = fit_readout(target, data)
    print_scores(fitted)
    print(path)
    return 0


def print_scores(fitted: Readout) -> None:
    """Print the held-out error of every subset, beside what a constant would score."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="readout on held-out trajectories: error of the offset in mm")
    for column in ("observed", "x", "y", "z", "contact F1"):
        table.add_column(column)
    spread: dict[str, float] = {}
    for subset, scores in fitted.scores.items():
        offset, contact = scores["offset"], scores["contact"]
        spread = offset["spread_mm"]
        cells = (f"{error:.1f}" for error in offset["rmse_mm"].values())
        table.add_row(subset, *cells, f"{contact['f1']:.2f}" if "f1" in contact else "-")
    table.add_row("a constant", *(f"{value:.1f}" for value in spread.values()), "")
    Console().print(table)
