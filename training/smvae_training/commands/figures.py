"""`smvae figures`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from smvae_core.errors import ConfigError
from smvae_core.files import naming
from smvae_training.commands.arguments import parse
from smvae_training.run import Run, RunError
from smvae_training.threads import use_cores

FIGURES_HELP = """Draw the paper's figures from a run, as PNG files, and print where they are.

  tsne        latents given image, label and both, by class (Fig. 2): mnist, fashion, celeba
  generation  what each modality draws of the others (Figs. 3 to 6): every image set
  figure7     images drawn from force and action, and from all (Fig. 7): episodes

examples:
  smvae figures runs/mnist --out figures                  (all that this run has)
  smvae figures runs/mnist --out figures --only tsne --points 3000
  smvae figures runs/celeba --out figures --only generation --count 12 --data celeba
  smvae figures run --out figures --only figure7 --data episodes"""


@dataclass(frozen=True, kw_only=True)
class FiguresArguments:
    """What `smvae figures` takes; the description shown is FIGURES_HELP."""

    run: tyro.conf.Positional[Path]
    """Folder written by `smvae train`."""
    out: Path
    """Folder for the PNG files, made if missing; files of the same names are replaced."""
    data: Path | None = None
    """The data that it was trained on; where the run found them by default."""
    only: str = ""
    """Which figures, parted by commas, e.g. tsne,generation; all by default."""
    count: int | None = None
    """How many samples, held-out images or moments a grid shows; each has its own default."""
    points: int | None = None
    """Points of each t-SNE."""
    seed: int = 0
    """Seed of samples and of t-SNE."""
    dpi: int = 150
    """Pixels per inch."""

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("points", 5), ("seed", 0), ("dpi", 20)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"--{name} must be at least {least}, got {value}")


def figures(arguments: list[str], prog: str) -> int:
    """Run `smvae figures`."""
    given = parse(FiguresArguments, arguments, prog, description=FIGURES_HELP)
    from smvae_training.run import load_run

    use_cores()
    run = load_run(given.run)
    for path in write_figures(run, given):
        print(path)
    return 0


def data_of(run: Run, data: Path | None) -> Path | None:
    """Return where a run's data are: as given, else where the run found them.

    None leaves an image set to be looked for in the usual places.

    Raises:
        RunError: If nothing is given and the run's data are no longer there.
    """
    source, recorded = run.config.data.source, run.record.data_path
    if data is not None or recorded in ("", source):
        return data
    if not Path(recorded).exists():
        raise RunError(run.path, f"its data are no longer at {recorded}: say where with --data")
    return Path(recorded)


def write_figures(run: Run, given: FiguresArguments) -> Iterator[Path]:
    """Draw the figures that are asked for and yield the path of each once it is written.

    Raises:
        ConfigError: If a figure's name is unknown.
        RunError: If the run has no such figure, or these are other data.
    """
    from smvae_training.evaluate.images.pictures import check_names, pictures
    from smvae_training.evaluate.progress import Stages
    from smvae_training.trainer import prepare_data

    only = [name.strip() for name in given.only.split(",") if name.strip()]
    check_names(run, only)
    records = prepare_data(run.config, data_of(run, given.data))
    found = pictures(run, records, count=given.count, points=given.points, seed=given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    stages = Stages()
    for picture in found:
        if only and picture.family not in only:
            continue
        path = given.out / f"{picture.name}.png"
        with stages.stage(picture.name), naming(path):
            picture.draw().savefig(path, dpi=given.dpi, bbox_inches="tight", facecolor="white")
        yield path
