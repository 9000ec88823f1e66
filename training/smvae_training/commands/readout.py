"""`smvae readout`: what the latent says of the task, for nodes that act on it."""

from __future__ import annotations

from pathlib import Path

import tyro

from smvae_core.readout import Readout
from smvae_training.commands.arguments import parse
from smvae_training.commands.tables import table
from smvae_training.threads import use_cores

READOUT_HELP = """Fit a linear readout of the latent: the data's targets, as offset [m] and contact.

One map per target and subset of sensors, ridge and logistic regression, fitted on the training
trajectories and scored on the held-out ones. It is written into the bundle as readout.json, hashed
in the manifest; a node applies it with numpy alone (smvae_core.readout, docs/shared_autonomy.md).
Given a run, it is written there, and the next `smvae export` takes it along.

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
    from smvae_training.calibrate.readout import fit_readout

    use_cores()
    fitted, path = fit_readout(target, data)
    print_scores(fitted)
    print(path)
    return 0


def print_scores(fitted: Readout) -> None:
    """Print the held-out error of every target and subset, beside what a constant would score."""
    from rich.console import Console

    for name, target in fitted.targets.items():
        scores = {subset: found[name] for subset, found in fitted.scores.items()}
        some = next(iter(scores.values()))
        measure = "f1" if target.binary else next(k for k in some if k.startswith("rmse_"))
        unit = measure.removeprefix("rmse_")
        said = "F1" if target.binary else f"error in {unit}"
        columns = ["F1"] if target.binary else list(some[measure])
        errors = table(f"readout of '{name}' on held-out records: {said}", ("observed", *columns))
        for subset, found in scores.items():
            errors.add_row(subset, *_cells(found[measure]))
        constant = "f1_always" if target.binary else f"spread_{unit}"
        errors.add_row("a constant", *_cells(some[constant]))
        Console().print(errors)


def _cells(numbers: float | dict[str, float]) -> list[str]:
    if isinstance(numbers, dict):
        return [f"{value:.3g}" for value in numbers.values()]
    return [f"{numbers:.2f}"]
