"""Measure how costs grow, and draw it: `python -m benchmarks.growth`.

Axes, all by default; one that is measured again replaces its own numbers in the results:

    sensors    equal windows of readings, 1 to 32
    side       a colour camera of 32, 64 and 128 pixels a side, the sizes that a model takes
    latent     numbers of the latent, 8 to 512; also where its dimensions covary
    context    remembered samples of each of four sensors, 8 to 128
    episodes   10 to 10,000 of 250 records; their files are holes, so that none fills the disk

Milliseconds of CPU of one thread, since other work may share the machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.command import add_result, parser_of, status_of
from benchmarks.growth import costs
from benchmarks.growth.costs import Costs
from benchmarks.growth.models import camera, model_config, wrenches
from benchmarks.turns.machine import machine
from smvae_core.errors import ConfigError

RESULTS = Path(__file__).parents[1] / "results" / "growth.json"
HERE = "benchmarks.growth"
#: More episodes than this are not read whole here.
READ_WHOLE = 1000


def sensors(count: int, folder: Path) -> Costs:
    model = model_config(wrenches(count))
    return costs.update(model, folder / "bundle") | costs.step(model, folder / "run")


def side(pixels: int, folder: Path) -> Costs:
    model = model_config(camera(pixels))
    found = costs.update(model, folder / "bundle") | costs.step(model, folder / "run")
    return {name: cost for name, cost in found.items() if name != "latent, one new sample"}


def latent(numbers: int, folder: Path) -> Costs:
    model = model_config(wrenches(4), latent_dim=numbers)
    found = costs.update(model, folder / "bundle") | costs.step(model, folder / "run")
    covary = model_config(wrenches(4), latent_dim=numbers, covariance="full")
    full = costs.step(covary, folder / "full")["training step"]
    return found | {"training step, dimensions covary": full}


def context(samples: int, folder: Path) -> Costs:
    return costs.remembered(samples, folder)


def episodes(count: int, folder: Path) -> Costs:
    return costs.episodes(count, folder, whole=count <= READ_WHOLE)


AXES: dict[str, tuple[Callable[[int, Path], Costs], tuple[int, ...]]] = {
    "sensors": (sensors, (1, 2, 4, 8, 16, 32)),
    "side": (side, (32, 64, 128)),
    "latent": (latent, (8, 32, 128, 512)),
    "context": (context, (8, 16, 32, 64, 128)),
    "episodes": (episodes, (10, 100, 1000, 10_000)),
}


def measure(name: str, out: Path, fewer: int) -> None:
    """Measure an axis without its `fewer` largest sizes, and add it to the file."""
    cost, sizes = AXES[name]
    rows = []
    about = machine()
    for size in sizes[: len(sizes) - fewer]:
        with tempfile.TemporaryDirectory() as folder:
            rows.append({"size": size, "ms": cost(size, Path(folder))})
        print(f"{name} {size}: {rows[-1]['ms']}", file=sys.stderr)
    add_result(out, (name,), {"machine": about, "rows": rows})


def measure_all(arguments: argparse.Namespace) -> None:
    """Measure the axes that were asked for.

    Raises:
        ConfigError: If there is no such axis.
    """
    for name in arguments.axes or AXES:
        if name not in AXES:
            raise ConfigError(f"no axis '{name}': have {', '.join(AXES)}")
        measure(name, arguments.out, arguments.fewer)


def main() -> int:
    """Measure the axes and write them; return the exit status."""
    parser = parser_of(HERE, __doc__)
    add = parser.add_argument
    add("axes", nargs="*", metavar="AXIS", help=f"{', '.join(AXES)}; all by default")
    add("--fewer", type=int, default=0, help="leave out so many of the largest sizes")
    add("--out", type=Path, default=RESULTS, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    return status_of("growth", lambda: measure_all(arguments))


if __name__ == "__main__":
    sys.exit(main())
