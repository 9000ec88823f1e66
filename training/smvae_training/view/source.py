"""What `smvae view` is pointed at: a run, a recorded bag, or episodes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smvae_core.bags import METADATA, Bag
from smvae_core.errors import ConfigError
from smvae_core.modality import Modality, find
from smvae_core.runtime import Runtime
from smvae_core.view.glance import Glance, TargetNames
from smvae_datasets.dataset import Dataset
from smvae_datasets.sources import prepare_source
from smvae_training.commands.figures import data_of
from smvae_training.evaluate.bag.inputs import find_inputs
from smvae_training.evaluate.bag.parameter_files import read_parameters
from smvae_training.evaluate.bag.replay import BagReplay
from smvae_training.evaluate.bag.settings import node_settings
from smvae_training.evaluate.progress import Stages
from smvae_training.exporting import export_run
from smvae_training.run import RunPaths, load_run
from smvae_training.trainer import prepare_data
from smvae_training.view.bag import GlancesOfBag
from smvae_training.view.options import ViewOptions
from smvae_training.view.records import record_glances, target_names

logger = logging.getLogger(__name__)

#: How a recording's file ends.
RECORDINGS = (".mcap", ".db3")

Show = Callable[[Glance], None]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Something to view."""

    name: str
    runtime: Runtime
    modalities: tuple[Modality, ...]
    """As its samples are: `uncut` where they were prepared."""
    targets: dict[str, TargetNames]
    play: Callable[[Show], None]
    """Shows every moment of it, in order."""


def what(path: Path) -> str:
    """Return whether a path is a 'run', a 'bag' or 'episodes', by what lies there.

    Raises:
        ConfigError: If there is nothing.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no run, recording or folder of episodes")
    if RunPaths(path).config.is_file():
        return "run"
    if path.is_file() or (path / METADATA).exists():
        return "bag"
    recorded = any(f.name.endswith(RECORDINGS) for f in path.iterdir())
    return "bag" if recorded else "episodes"


def open_source(path: Path, options: ViewOptions, folder: Path) -> Opened:
    """Return what there is to view at a path.

    Args:
        path: Run, recording or episodes.
        options: See `ViewOptions`.
        folder: For the graphs of a run.

    Raises:
        ConfigError: If there is nothing, or no bundle to see it through.
        SMVAEError: If it cannot be used.
    """
    kind = what(path)
    if kind == "run":
        return _run(path, options, folder)
    if options.bundle is None:
        raise ConfigError(
            f"{path}: this is seen through a model: "
            "name the --bundle that `smvae export` wrote, or view the run"
        )
    runtime = Runtime(options.bundle)
    return (_bag if kind == "bag" else _episodes)(path, runtime, options)


def _run(path: Path, options: ViewOptions, folder: Path) -> Opened:
    run = load_run(path)
    data = data_of(run, options.data)
    bundle = options.bundle or export_run(path, folder / "bundle", path.name, options.data)
    records = prepare_data(run.config, data)
    return _records(path.name, records, run.split(records).held_out, Runtime(bundle), options)


def _episodes(path: Path, runtime: Runtime, options: ViewOptions) -> Opened:
    records = prepare_source("episodes", path, runtime.modalities)
    return _records(path.name, records, np.arange(len(records)), runtime, options)


def _records(
    name: str, data: Dataset, rows: NDArray[np.int64], runtime: Runtime, options: ViewOptions
) -> Opened:
    dropped = {find(runtime.modalities, n).name for n in options.dropped}
    rows = rows[np.argsort(data.group[rows], kind="stable")]
    shown = rows[: options.max_records]
    if len(shown) < len(rows):
        logger.info(
            "the first %d of %d records; --max-records asks for more", len(shown), len(rows)
        )

    def play(show: Show) -> None:
        with Stages().stage("view", len(shown)) as advance:
            for glance in record_glances(data, shown, runtime, dropped):
                show(glance)
                advance(1)

    return Opened(
        name=name,
        runtime=runtime,
        modalities=tuple(m.uncut for m in runtime.modalities),
        targets=target_names(data),
        play=play,
    )


def _bag(path: Path, runtime: Runtime, options: ViewOptions) -> Opened:
    def play(show: Show) -> None:
        given = read_parameters(options.params_file)[1] if options.params_file else {}
        with Bag(path) as bag:
            settings = node_settings(
                runtime.modalities,
                given,
                topics=options.topics,
                drop=options.dropped,
                there=bag.topics,
            )
            inputs = find_inputs(bag, runtime.modalities, settings)
            replay = BagReplay(bag, runtime, settings, inputs)
            with Stages().stage("view", sum(i.messages for i in inputs.values())) as advance:
                replay.run(GlancesOfBag(replay, show), advance)

    return Opened(
        name=path.name, runtime=runtime, modalities=runtime.modalities, targets={}, play=play
    )
