"""What `smvae view` is pointed at: a run; recordings and episodes, also without a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.bags import METADATA, Bag
from smvae_core.errors import ConfigError
from smvae_core.modality import Modality, find
from smvae_core.robot import Robot, read_robot
from smvae_core.robot.reading import parse_robot
from smvae_core.runtime import Runtime
from smvae_core.settings import Settings
from smvae_core.view.glance import TargetNames
from smvae_core.what_is import what_is
from smvae_datasets.dataset import Dataset
from smvae_datasets.lerobot import LeRobotEpisode, LeRobotFolder, is_lerobot
from smvae_datasets.recording_forms import scaffold
from smvae_datasets.recordings.convert import Recording
from smvae_datasets.recordings.declared import Declared, uncropped
from smvae_datasets.recordings.episode_files import EpisodeFiles
from smvae_datasets.recordings.folder import holds_episodes, list_episodes, read_declaration
from smvae_datasets.recordings.report import counted
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
from smvae_training.view.bag import GlancesOfReplay
from smvae_training.view.following import Following, Show
from smvae_training.view.options import ViewOptions
from smvae_training.view.raw import RawReplay
from smvae_training.view.recorded import show_episode
from smvae_training.view.records import record_glances, target_names

logger = logging.getLogger(__name__)

#: How a recording's file ends, where it is not compressed.
RECORDINGS = (".mcap", ".db3")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Something to view."""

    name: str
    modalities: tuple[Modality, ...]
    """As its samples are: `uncut` where they were prepared."""
    targets: dict[str, TargetNames]
    play: Callable[[Show], str]
    """Shows every moment of it, in order; returns what became of a recording without a moment."""
    has_model: bool = True
    """Whether there are latents and predictions."""
    thresholds: tuple[float, float] | None = None
    """Novelty from which the node warns, and calls a latent out of distribution."""


_WANTED = "expected a run, a recording or a folder of episodes"


def what(path: Path) -> str:
    """Return what lies at a path: a 'run', 'bag', 'lerobot', 'recorded' or other 'episodes'.

    Recorded are those that `smvae episodes` made.

    Raises:
        ConfigError: If it is nothing of these.
    """
    if not path.exists():
        raise ConfigError(f"{path}: {_WANTED}, got {what_is(path)}")
    if RunPaths(path).config.is_file():
        return "run"
    if path.is_file() or (path / METADATA).exists():
        return "bag"
    if holds_episodes(path):
        return "recorded"
    if is_lerobot(path):
        return "lerobot"
    recorded = any(f.name.removesuffix(".zstd").endswith(RECORDINGS) for f in path.iterdir())
    if not recorded and next(path.rglob("*.h5"), None) is None:
        raise ConfigError(f"{path}: {_WANTED}, got {what_is(path)}")
    return "bag" if recorded else "episodes"


def open_source(path: Path, options: ViewOptions, folder: Path) -> Opened:
    """Return what there is to view at a path.

    Args:
        path: Run, recording or episodes.
        options: See `ViewOptions`.
        folder: For the graphs of a run.

    Raises:
        ConfigError: If there is nothing, or it needs a bundle to be seen through.
        SMVAEError: If it cannot be used.
    """
    kind = what(path)
    if kind == "run":
        return _run(path, options, folder)
    if options.bundle is not None and options.robot is not None:
        raise ConfigError("--robot is for what is seen without a model: the --bundle has its own")
    if options.bundle is None:
        if kind == "episodes":
            raise ConfigError(
                f"{path}: this is seen through a model: "
                "name the --bundle that `smvae export` wrote, or view the run"
            )
        return (_kept if kind == "recorded" else _recording)(path, options)
    runtime = Runtime(options.bundle)
    return (_replayed if kind in ("bag", "lerobot") else _episodes)(path, runtime, options)


def _recording(path: Path, options: ViewOptions) -> Opened:
    """Return a bag or a LeRobot folder without a model, by its declaration or what is found."""
    robot = _found(path) if options.robot is None else read_robot(options.robot)
    declared = Declared.of(robot)

    def play(show: Show) -> str:
        following = Following(show)

        def play_one(name: str, recording: Recording) -> tuple[int, str]:
            replay = RawReplay(recording, declared, following, name)
            total = sum(recording.topics[t].messages for t in replay.topics)
            with Stages().stage(f"view {name}".strip(), total) as advance:
                replay.run(advance)
            for fault in replay.faults:
                logger.warning("%s: %s", name or path, fault)
            counts = (f"{n}: {counted(asdict(c))}" for n, c in replay.counts.items())
            return replay.steps, "; ".join(counts)

        return _play_each(path, options.max_records, play_one)

    with next(_recordings(path))[1] as recording:
        targets = RawReplay(recording, declared, Following(lambda glance: None)).target_names()
    modalities = tuple(map(uncropped, robot.modalities))
    return Opened(
        name=path.name, modalities=modalities, targets=targets, play=play, has_model=False
    )


def _found(path: Path) -> Robot:
    """Return the robot that a recording declares by itself; of its cameras all is seen."""
    found = scaffold(path)
    found.text(path)  # says why where there is nothing
    robot = parse_robot(found.data, path)
    for reason in found.left_out:
        logger.info("not shown: %s", reason)
    sensors = tuple(
        replace(s, modality=replace(s.modality, options=replace(s.modality.options, crop=None)))
        if s.modality.is_image
        else s
        for s in robot.sensors
    )
    return replace(robot, sensors=sensors)


def _recordings(path: Path) -> Iterator[tuple[str, Recording]]:
    """Yield name and recording: a bag, or each episode of a LeRobot folder."""
    if not is_lerobot(path):
        yield "", _open_bag(path)
        return
    folder = LeRobotFolder(path)
    for entry in folder.present:
        yield entry.name, LeRobotEpisode(folder, entry, partial(_said, path))


def _play_each(path: Path, most: int, play: Callable[[str, Recording], tuple[int, str]]) -> str:
    """Play recording after recording until `most` moments were shown.

    Each play returns how many it showed, and what became of the messages. The first recording's
    that showed none is returned.
    """
    shown, first = 0, ""
    for name, recording in _recordings(path):
        if shown >= most and name:
            logger.info("%s: shown up to here; --max-records asks for more", name)
            return first
        with recording:
            moments, became = play(name, recording)
        shown += moments
        first = first or ("" if moments else became)
    return first


def _open_bag(path: Path) -> Bag:
    return Bag(path, forgive=partial(_said, path))


def _said(path: Path, fault: str) -> None:
    logger.warning("%s: %s", path, fault)


def _kept(path: Path, options: ViewOptions) -> Opened:
    """Return the folder that `smvae episodes` made, without a model."""
    declared, episodes = Declared.of(read_declaration(path)), list_episodes(path)
    units = {t.name: t.unit for t in declared.robot.targets}
    with EpisodeFiles(episodes[0].files) as files:
        targets = {
            name: TargetNames(fields=files.fields(name), unit=unit)
            for name, unit in units.items()
            if files.has_target(name)
        }

    def play(show: Show) -> str:
        following, steps = Following(show), 0
        with Stages().stage("view", sum(e.steps for e in episodes)) as advance:
            for number, episode in enumerate(episodes):
                if steps >= options.max_records:
                    logger.info(
                        "the first %d of %d episodes; --max-records asks for more",
                        number,
                        len(episodes),
                    )
                    return ""
                show_episode(episode, declared, following, advance)
                steps += episode.steps
        return ""

    return Opened(
        name=path.name,
        modalities=tuple(map(uncropped, declared.robot.modalities)),
        targets=targets,
        play=play,
        has_model=False,
    )


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

    def play(show: Show) -> str:
        with Stages().stage("view", len(shown)) as advance:
            for glance in record_glances(data, shown, runtime, dropped):
                show(glance)
                advance(1)
        return ""

    return Opened(
        name=name,
        modalities=tuple(m.uncut for m in runtime.modalities),
        targets=target_names(data),
        play=play,
        thresholds=_thresholds(runtime),
    )


def _thresholds(runtime: Runtime) -> tuple[float, float] | None:
    novelty = runtime.manifest.novelty
    return None if novelty is None else (novelty.warn, novelty.error)


def _replayed(path: Path, runtime: Runtime, options: ViewOptions) -> Opened:
    """Return a bag or a LeRobot folder through a bundle, by the node's own rules."""

    def play(show: Show) -> str:
        given = read_parameters(options.params_file)[1] if options.params_file else {}
        following = Following(show)

        def play_one(name: str, recording: Recording) -> tuple[int, str]:
            settings = _settings(recording, runtime, given, options)
            inputs = find_inputs(recording, runtime.modalities, settings)
            replay = BagReplay(recording, runtime, settings, inputs)
            following.begin(recording.begin_ns)
            seen = GlancesOfReplay(replay, following, name)
            total = sum(i.messages for i in inputs)
            with Stages().stage(f"view {name}".strip(), total) as advance:
                replay.run(seen, advance)
            return seen.moments, replay.why_none()

        return _play_each(path, options.max_records, play_one)

    return Opened(
        name=path.name,
        modalities=runtime.modalities,
        targets={},
        play=play,
        thresholds=_thresholds(runtime),
    )


def _settings(
    recording: Recording, runtime: Runtime, given: Mapping[str, Any], options: ViewOptions
) -> Settings:
    """Return the node's settings for a recording; a declared column of its own is a topic."""
    found = node_settings(
        runtime.modalities,
        given,
        declared=runtime.manifest.parameters(),
        topics=options.topics,
        drop=options.dropped,
        there=recording.topics,
    )
    robot = runtime.manifest.robot
    declared = {s.name: s.channel.feature for s in robot.sensors} if robot is not None else {}
    topics = {}
    for name, topic in found.topics.items():
        column = topic.removeprefix("/") if name in found.asked else declared.get(name, "")
        topics[name] = column if column in recording.topics else topic
    return replace(found, topics=topics)
