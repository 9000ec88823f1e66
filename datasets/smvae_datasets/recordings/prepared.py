"""A folder of episodes as a data set: each step prepared from the samples that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, SampleError
from smvae_core.modality import Modality, find
from smvae_core.robot import RecordedTarget
from smvae_datasets.cache import Block, code_sha256, in_order, prepare_once
from smvae_datasets.dataset import ArrayDataset, DataSetError, Target
from smvae_datasets.recordings import coding, declared, episode_files, steps
from smvae_datasets.recordings.declared import Declared, uncropped
from smvae_datasets.recordings.episode_files import NONE, EpisodeFiles
from smvae_datasets.recordings.folder import Episode, list_episodes, read_declaration
from smvae_datasets.recordings.steps import nearest, play_steps

_FORMAT = 1
_CODE: tuple[ModuleType, ...] = (coding, declared, episode_files, steps)
#: Steps that are prepared at once.
_BLOCK = 128


@dataclass(frozen=True)
class Plan:
    """The steps of one episode that hold one of the sensors at least."""

    episode: Episode
    reference_ns: NDArray[np.int64]
    samples: NDArray[np.int64]
    """(N, M) of the chosen sensors."""
    targets: dict[str, Target]


def prepare_recordings(
    root: Path, modalities: Sequence[Modality], *, progress: bool = True
) -> ArrayDataset:
    """Return all steps of the episodes in `root`, prepared, from the cache where it is current.

    Each episode is a group. Times are stamps since the first step of the episode. Sizes, fits,
    windows and `rate_hz` are those of the declaration in the folder and of `modalities`, whatever
    they were when the recordings were converted.

    Args:
        root: Folder that `smvae episodes` wrote.
        modalities: Of the robot's sensors, also of another size.
        progress: Show a progress bar on stderr.

    Raises:
        DataSetError: If the folder cannot be used.
        ConfigError: If a modality is none of the robot's sensors, or of another kind.
    """
    chosen = tuple(modalities)
    robot = Declared.of(read_declaration(root))
    _check(chosen, robot.robot.modalities)
    robot = _with(robot, chosen)
    episodes = list_episodes(root)
    plans = [plan_steps(episode, robot, chosen) for episode in episodes]
    plans = [plan for plan in plans if len(plan.reference_ns)]
    if not plans:
        names = ", ".join(m.name for m in chosen)
        raise DataSetError(root, f"no step holds any of {names}")
    folder, arrays = prepare_once(
        root / ".prepared",
        _manifest(root, episodes, chosen, robot),
        [*(m.name for m in chosen), "recorded"],
        lambda: in_order(job for plan in plans for job in _jobs(plan, chosen, robot)),
        sum(len(plan.reference_ns) for plan in plans),
        progress=progress,
    )
    return ArrayDataset(
        sensors=chosen,
        arrays={m.name: arrays[m.name] for m in chosen},
        recorded=np.array(arrays["recorded"]),
        stamp_ns=np.concatenate([p.reference_ns - p.reference_ns[0] for p in plans]),
        samples=np.concatenate([plan.samples for plan in plans]),
        group=np.repeat(np.arange(len(plans), dtype=np.int32), [len(p.samples) for p in plans]),
        group_names=tuple(plan.episode.name for plan in plans),
        targets={t.name: _joined(t, plans) for t in robot.robot.targets},
        path=folder,
    )


def _check(chosen: Sequence[Modality], sensors: tuple[Modality, ...]) -> None:
    if not chosen:
        raise ConfigError("prepare: expected at least one modality, got none")
    for modality in chosen:
        recorded = find(sensors, modality.name)
        if (recorded.kind, recorded.fields) != (modality.kind, modality.fields):
            raise ConfigError(
                f"modality '{modality.name}': the episodes hold {recorded.kind} of "
                f"{', '.join(recorded.fields) or 'images'}, expected {modality.kind} of "
                f"{', '.join(modality.fields) or 'images'}"
            )


def _with(robot: Declared, chosen: Sequence[Modality]) -> Declared:
    """Return the robot with sensors that are prepared as chosen."""
    by_name = {m.name: m for m in chosen}
    sensors = tuple(
        replace(s, modality=by_name.get(s.name, s.modality)) for s in robot.robot.sensors
    )
    return Declared.of(replace(robot.robot, sensors=sensors))


def plan_steps(episode: Episode, robot: Declared, chosen: Sequence[Modality]) -> Plan:
    """Return the steps of an episode, with the numbers of the samples that they hold."""
    with EpisodeFiles(episode.files) as files:
        reference_ns, samples = _steps(episode, files, robot)
        columns = [[m.name for m in robot.robot.modalities].index(m.name) for m in chosen]
        samples = samples[:, columns]
        for column, modality in enumerate(chosen):
            if modality.family.is_window:
                samples[:, column] = _covered(files, modality, samples[:, column], robot)
        held = (samples > NONE).any(axis=1)
        reference_ns, samples = reference_ns[held], samples[held]
        half_ns = robot.half_step_ns
        targets = {t.name: _target(files, t, reference_ns, half_ns) for t in robot.robot.targets}
    return Plan(episode, reference_ns, samples, targets)


def _steps(
    episode: Episode, files: EpisodeFiles, robot: Declared
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if episode.has_steps:
        return files.array("steps/reference_ns"), files.array("steps/sample")
    return play_steps(files, robot)


def _target(
    files: EpisodeFiles, target: RecordedTarget, reference_ns: NDArray[np.int64], half_ns: int
) -> Target:
    """Return what was recorded nearest to each step, NaN where nothing was within half a step."""
    if not files.has_target(target.name):
        return Target(values=np.full((len(reference_ns), 1), np.nan, np.float32))
    stamps = files.array(f"targets/{target.name}/stamp_ns")
    order = np.argsort(stamps, kind="stable")
    stamps, values = stamps[order], files.array(f"targets/{target.name}/values")[order]
    found = np.full((len(reference_ns), values.shape[1]), np.nan, np.float32)
    at, near = nearest(stamps, reference_ns, half_ns)
    found[near] = values[at[near]]
    if target.binary:
        found = np.where(np.isnan(found), found, (found >= 0.5).astype(np.float32))
    fields = files.fields(target.name)
    return Target(
        values=found,
        unit=target.unit,
        binary=target.binary,
        fields=fields,
        frame_id=target.frame_id,
    )


def _joined(target: RecordedTarget, plans: Sequence[Plan]) -> Target:
    """Return the target of all episodes; one that an episode lacks is not recorded there."""
    found = [plan.targets[target.name] for plan in plans]
    first = max(found, key=lambda t: len(t.fields))
    width = first.values.shape[1]
    values = [
        t.values if t.values.shape[1] == width else np.full((len(t.values), width), np.nan)
        for t in found
    ]
    return replace(first, values=np.concatenate(values).astype(np.float32))


def _window(
    files: tuple[NDArray[np.int64], NDArray[Any]], modality: Modality, last: int, robot: Declared
) -> NDArray[Any]:
    """Return the window that ends with a reading.

    Raises:
        SampleError: If the episode's readings do not cover it.
    """
    stamps, readings = files
    start_ns = stamps[last] - round(modality.family.span_s(modality) * 1e9)
    first = max(0, int(np.searchsorted(stamps, start_ns, side="right")) - 1)
    rows = slice(first, last + 1)
    fewest = robot.settings.rules[modality.name].min_samples
    window: NDArray[Any] = modality.family.assemble(
        modality, stamps[rows], list(readings[rows]), fewest
    )
    return window


def _readings(files: EpisodeFiles, name: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    return files.array(f"sensors/{name}/stamp_ns"), files.array(f"sensors/{name}/values")


def _covered(
    files: EpisodeFiles, modality: Modality, last: NDArray[np.int64], robot: Declared
) -> NDArray[np.int64]:
    """Return the readings that windows end with, NONE where the episode does not cover one."""
    readings = _readings(files, modality.name)
    found = last.copy()
    for row in np.flatnonzero(last > NONE):
        if not _covers(readings, modality, int(last[row]), robot):
            found[row] = NONE
    return found


def _covers(
    readings: tuple[NDArray[np.int64], NDArray[Any]], modality: Modality, last: int, robot: Declared
) -> bool:
    try:
        _window(readings, modality, last, robot)
    except SampleError:
        return False
    return True


def _jobs(plan: Plan, chosen: Sequence[Modality], robot: Declared) -> Iterator[Callable[[], Block]]:
    for start in range(0, len(plan.samples), _BLOCK):
        yield partial(_block, plan, slice(start, start + _BLOCK), chosen, robot)


def _block(
    plan: Plan, rows: slice, chosen: Sequence[Modality], robot: Declared
) -> dict[str, NDArray[Any]]:
    samples = plan.samples[rows]
    recorded = samples > NONE
    block: dict[str, NDArray[Any]] = {"recorded": recorded}
    with EpisodeFiles(plan.episode.files) as files:
        for column, modality in enumerate(chosen):
            read = _reader(files, modality, robot)
            seen = uncropped(modality)  # an example may be smaller than the crop
            example = modality.family.prepare(seen, seen.example_sample())
            values = np.zeros((len(samples), *modality.shape), example.dtype)
            prepared: dict[int, NDArray[Any] | None] = {}
            for row, number in enumerate(samples[:, column].tolist()):
                if number == NONE:
                    continue
                if number not in prepared:
                    prepared = {number: read(number)}
                if (value := prepared[number]) is None:
                    recorded[row, column] = False
                else:
                    values[row] = value
            block[modality.name] = values
    if not recorded.any(axis=1).all():
        row = rows.start + int(np.argmin(recorded.any(axis=1)))
        raise DataSetError(
            plan.episode.files[0],
            f"step {row} of episode {plan.episode.name} holds nothing at these sizes and ranges",
        )
    return block


def raw_samples(
    files: EpisodeFiles, modality: Modality, robot: Declared
) -> Callable[[int], NDArray[Any]]:
    """Return what gives a raw sample by its number: of a window, that which ends with a reading."""
    family, name = modality.family, modality.name
    if family.is_window:
        readings = _readings(files, name)
        return lambda number: _window(readings, modality, number, robot)
    if family.is_image:
        return partial(files.image, name)
    values = files.array(f"sensors/{name}/values")
    return lambda number: np.asarray(values[number])


def _reader(
    files: EpisodeFiles, modality: Modality, robot: Declared
) -> Callable[[int], NDArray[Any] | None]:
    """Return what prepares a sample by its number; None of one that is empty once prepared."""
    seen, raw = uncropped(modality), raw_samples(files, modality, robot)

    def read(number: int) -> NDArray[Any] | None:
        try:
            return modality.family.prepare(seen, raw(number))
        except SampleError:
            return None

    return read


def _manifest(
    root: Path, episodes: Sequence[Episode], chosen: Sequence[Modality], robot: Declared
) -> dict[str, Any]:
    """Return everything the prepared arrays depend on, as JSON."""
    files = [path for episode in episodes for path in episode.files]
    stats = [(path, path.stat()) for path in files]
    return {
        "format": _FORMAT,
        "set": "recordings",
        "root": str(root.resolve()),
        "modalities": [m.to_json() for m in chosen],
        "steps": robot.steps_sha256,
        "code": code_sha256(*_CODE),
        "files": [[str(p.relative_to(root)), s.st_size, s.st_mtime_ns] for p, s in stats],
    }
