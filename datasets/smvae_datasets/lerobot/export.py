"""Episodes -> a LeRobot v3 folder: a row per step, at the fixed rate that LeRobot asks for.

LeRobot knows no absence. A sensor that a step lacks is NaN, or a black image, and the column
`present` says which sensors the step held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality, find
from smvae_core.robot import Robot
from smvae_datasets.dataset import Target
from smvae_datasets.lerobot.folder import Feature
from smvae_datasets.lerobot.messages import QUANTITIES
from smvae_datasets.lerobot.writer import LeRobotWriter, image_feature, refuse_existing
from smvae_datasets.recordings.declared import Declared
from smvae_datasets.recordings.episode_files import NONE, EpisodeFiles
from smvae_datasets.recordings.folder import Episode, list_episodes, read_declaration
from smvae_datasets.recordings.prepared import Plan, plan_steps, raw_samples

ACTION, PRESENT = "action", "present"
_MM_PER_M, _FARTHEST_MM = 1000.0, 65535


@dataclass(frozen=True)
class _Column:
    """A sensor, and where its samples go."""

    modality: Modality
    feature: Feature

    def cell(self, sample: NDArray[Any] | None) -> NDArray[Any]:
        """Return a row's value: a raw sample in LeRobot's units, or what stands for its absence."""
        feature = self.feature
        if not feature.is_image:
            if sample is None:
                return np.full(feature.shape, np.nan, np.float32)
            return np.asarray(sample, np.float32)
        if sample is None:
            shape = feature.shape if feature.shape[2] == 3 else feature.shape[:2]
            return np.zeros(shape, np.uint16 if feature.is_depth else np.uint8)
        if not feature.is_depth:
            return sample
        with np.errstate(invalid="ignore"):
            mm = np.rint(np.asarray(sample, np.float64) * _MM_PER_M)
        return np.where((mm > 0) & (mm <= _FARTHEST_MM), mm, 0).astype(np.uint16)


@dataclass(frozen=True)
class _Draft:
    """What would be written."""

    declared: Declared
    columns: list[_Column]
    targets: dict[str, Target]
    """Of the episode that names their numbers."""
    plans: list[Plan]
    places: list[NDArray[np.int64]]
    """Of each plan, the row of each step."""

    @property
    def rows(self) -> int:
        return sum(int(places[-1]) + 1 for places in self.places)

    @property
    def features(self) -> list[Feature]:
        found = [column.feature for column in self.columns]
        for name, target in self.targets.items():
            shape = (target.values.shape[1],)
            found.append(
                Feature(name=f"target.{name}", dtype="float32", shape=shape, names=target.names)
            )
        names = tuple(column.modality.name for column in self.columns)
        return [*found, Feature(name=PRESENT, dtype="bool", shape=(len(names),), names=names)]

    def to_json(self) -> dict[str, Any]:
        robot = self.declared.robot
        return {
            "robot": robot.name,
            "fps": robot.episodes.rate_hz,
            "episodes": len(self.plans),
            "rows": self.rows,
            "empty_rows": self.rows - sum(map(len, self.places)),
            "features": {f.name: [f.dtype, *f.shape] for f in self.features},
        }


def write_lerobot(
    root: Path,
    out: Path,
    *,
    task: str = "",
    action: str = "",
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write the episodes of a folder as LeRobot v3 and return what was written.

    Args:
        root: Folder that `smvae episodes` wrote.
        out: Folder to write; must not exist yet.
        task: What the robot does in all of them, in words; '' = the robot's name.
        action: Sensor that becomes LeRobot's 'action'; '' = the one of that name, if any.
        advance: Called with the number of rows done since, and the number of all.

    Raises:
        DataSetError: If `root` cannot be used.
        LeRobotError: If `out` is there already, or images of one sensor differ in size.
        ConfigError: If two sensors would be one feature.
        UnknownModality: If there is no sensor `action`.
        MissingDependency: If pyarrow or av is not installed.
    """
    draft = _draft(root, action)
    robot, total = draft.declared.robot, draft.rows
    with LeRobotWriter(out, draft.features, fps=robot.episodes.rate_hz, robot=robot.name) as writer:
        for plan, places in zip(draft.plans, draft.places, strict=True):
            rows = _told(_rows(plan, places, draft), advance, total)
            writer.add_episode(rows, task or robot.name)
    return draft.to_json()


def foresee_lerobot(root: Path, out: Path, *, action: str = "") -> dict[str, Any]:
    """Return what `write_lerobot` would write; nothing is.

    Raises:
        LeRobotError: If `out` is there already. For the others see `write_lerobot`.
    """
    refuse_existing(out)
    return _draft(root, action).to_json()


def _draft(root: Path, action: str) -> _Draft:
    robot = read_declaration(root)
    if action:
        find(robot.modalities, action)
    declared, episodes = Declared.of(robot), list_episodes(root)
    columns = [
        _Column(m, _feature(m, _name(robot, m, action or ACTION), episodes))
        for m in robot.modalities
    ]
    names = [c.feature.name for c in columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two sensors would both be the feature '{twice[0]}'; rename one")
    plans = [plan_steps(episode, declared, robot.modalities) for episode in episodes]
    plans = [plan for plan in plans if len(plan.reference_ns)]
    targets = {
        t.name: max((p.targets[t.name] for p in plans), key=lambda found: len(found.fields))
        for t in robot.targets
    }
    places = [_rows_of(plan, robot.episodes.rate_hz) for plan in plans]
    return _Draft(declared, columns, targets, plans, places)


def _told(
    rows: Iterator[dict[str, Any]], advance: Callable[[int, int], None], total: int
) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row
        advance(1, total)


def _name(robot: Robot, modality: Modality, action: str) -> str:
    """Return the feature of a sensor: its own where it came from one."""
    channel = next(s.channel for s in robot.sensors if s.name == modality.name)
    if modality.name == action:
        return ACTION
    if channel.feature:
        return channel.feature
    return f"observation.{'images.' if modality.is_image else ''}{modality.name}"


def _feature(modality: Modality, name: str, episodes: list[Episode]) -> Feature:
    """Return what a sensor's column is; images are as they were recorded, after `crop`."""
    if not modality.is_image:
        shape = modality.shape[::-1]  # of a window: oldest reading first
        names = _number_names(modality.fields) if len(shape) == 1 else ()
        return Feature(name=name, dtype="float32", shape=shape, names=names)
    for episode in episodes:
        with EpisodeFiles(episode.files) as files:
            if not len(files.array(f"sensors/{modality.name}/stamp_ns")):
                continue
            image = files.image(modality.name, 0)
            if image.ndim == 3:
                return image_feature(name, *image.shape[:2])
            is_depth = image.dtype != np.uint8
            return Feature(name=name, dtype="image", shape=(*image.shape, 1), is_depth=is_depth)
    raise ConfigError(f"no episode holds an image of {modality.name}; leave it out of the robot")


def _number_names(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return what LeRobot calls numbers: 'elbow' of a position alone, else 'elbow.pos'."""
    ends = {quantity: end for end, quantity in reversed(QUANTITIES.items())}
    split = [field.partition(".") for field in fields]
    if not all(of in ends and rest for of, _, rest in split):
        return fields
    if {of for of, _, _ in split} == {"position"}:
        return tuple(rest for _, _, rest in split)
    return tuple(f"{rest}.{ends[of]}" for of, _, rest in split)


def _rows_of(plan: Plan, rate_hz: float) -> NDArray[np.int64]:
    """Return the row of each step: by its time, so that a pause stays as long as it was."""
    rows = np.rint((plan.reference_ns - plan.reference_ns[0]) * 1e-9 * rate_hz).astype(np.int64)
    ahead = rows - np.arange(len(rows))
    return np.maximum.accumulate(ahead) + np.arange(len(rows))  # no two steps share a row


def _rows(plan: Plan, places: NDArray[np.int64], draft: _Draft) -> Iterator[dict[str, Any]]:
    """Yield the rows of an episode; one without a step holds no sensor."""
    step_of = np.full(int(places[-1]) + 1, NONE)
    step_of[places] = np.arange(len(places))
    columns = draft.columns
    with EpisodeFiles(plan.episode.files) as files:
        read = [raw_samples(files, c.modality, draft.declared) for c in columns]
        for step in step_of.tolist():
            numbers = plan.samples[step].tolist() if step > NONE else [NONE] * len(columns)
            row = {
                column.feature.name: column.cell(None if number == NONE else get(number))
                for column, get, number in zip(columns, read, numbers, strict=True)
            }
            for name, target in draft.targets.items():
                width, found = target.values.shape[1], plan.targets[name].values
                known = step > NONE and found.shape[1] == width
                row[f"target.{name}"] = found[step] if known else np.full(width, np.nan, np.float32)
            row[PRESENT] = np.array([number > NONE for number in numbers])
            yield row
