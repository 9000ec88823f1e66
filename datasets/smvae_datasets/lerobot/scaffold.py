"""A first robot.yaml from a LeRobot folder: which columns are sensors, and what was left out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_datasets import naming
from smvae_datasets.lerobot.episode import LeRobotEpisode
from smvae_datasets.lerobot.folder import EpisodeEntry, Feature, LeRobotError, LeRobotFolder
from smvae_datasets.lerobot.messages import joints
from smvae_datasets.scaffold import Scaffold

#: Episodes, spread over the folder, that ranges are taken from.
_LOOKED_AT = 50
#: Beyond this no joint's position is in radians [rad].
_LARGEST_ANGLE = 4 * np.pi
#: Words in the names of numbers that belong to a hand, and how many others a robot needs beside.
_HAND = ("hand", "finger", "thumb", "pinky")
_OTHERS = 4
_SIZE = [64, 64]


@dataclass(frozen=True)
class _Seen:
    """Smallest and largest of each number of a column."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """Of the rows with as many numbers as the first one."""
    sizes: frozenset[int] = frozenset()
    """How many numbers rows have."""

    def beside(self, values: NDArray[np.float64]) -> _Seen:
        """Return what was seen with one row more."""
        sizes = self.sizes | {values.size}
        if values.shape != self.low.shape:
            return _Seen(self.low, self.high, sizes)
        return _Seen(np.fmin(self.low, values), np.fmax(self.high, values), sizes)

    @property
    def moves(self) -> NDArray[np.bool_]:
        return self.low < self.high

    def __str__(self) -> str:
        return f"{self.low.min():.4g} to {self.high.max():.4g}"


def looked_at(folder: LeRobotFolder) -> list[EpisodeEntry]:
    """Return the episodes that ranges are taken from, spread over the folder."""
    count = len(folder.present)
    chosen = np.unique(np.linspace(0, count - 1, min(_LOOKED_AT, count)).astype(int))
    return [folder.present[number] for number in chosen]


def scaffold_lerobot(
    folder: LeRobotFolder, episodes: Iterable[EpisodeEntry] | None = None
) -> Scaffold:
    """Return what a folder declares, from its metadata and the numbers of some episodes.

    Args:
        folder: To look at.
        episodes: Of it, to look at; None = `looked_at`.

    Raises:
        LeRobotError: If a table is damaged.
    """
    seen, faults = _ranges(folder, looked_at(folder) if episodes is None else episodes)
    found = _Draft(folder, seen)
    for feature in folder.features.values():
        found.add(feature)
    rules = {"rate_hz": folder.fps, "split_on": "file"}
    robot = re.sub(r"[^A-Za-z0-9_-]+", "_", folder.robot or folder.path.name).strip("_-") or "robot"
    data = {
        "robot": robot,
        "sensors": found.named(found.sensors),
        "targets": found.named(found.targets),
        "episodes": rules,
    }
    left_out = (*folder.notes, *found.left_out)
    about = found.named(found.about)
    return Scaffold(data=data, about=about, left_out=left_out, faults=tuple(faults))


def _ranges(
    folder: LeRobotFolder, episodes: Iterable[EpisodeEntry]
) -> tuple[dict[str, _Seen], list[str]]:
    """Return what the numbers of each column are, and which episodes cannot be read.

    Raises:
        LeRobotError: If none can be.
    """
    seen: dict[str, _Seen] = {}
    damaged: list[LeRobotError] = []
    for entry in episodes:
        episode = LeRobotEpisode(folder, entry)
        names = [n for n in episode.topics if not folder.features[n].is_image]
        try:
            for name, _, (_, cell) in episode.messages(names):
                values = np.asarray(cell, np.float64)
                seen[name] = seen.get(name, _Seen(values, values)).beside(values)
        except LeRobotError as err:
            damaged.append(err)
    if damaged and not seen:
        raise damaged[0]
    return seen, list(map(str, damaged))


class _Draft:
    """Gathers sensors and targets, each by its column; once all are known they get names."""

    def __init__(self, folder: LeRobotFolder, seen: Mapping[str, _Seen]) -> None:
        self._folder, self._seen = folder, seen
        self.sensors: dict[str, Any] = {}
        self.targets: dict[str, Any] = {}
        self.about: dict[str, str] = {}
        self.left_out: list[str] = []

    def add(self, feature: Feature) -> None:
        if feature.is_image:
            self._image(feature)
        elif feature.name not in self._seen:
            what = (
                "no row of it"
                if feature.is_read
                else f"{feature.dtype} is neither number nor image"
            )
            self._leave(feature, what)
        elif feature.dtype == "bool" and feature.shape == (1,):
            self._target(feature)
        elif len(feature.shape) > 1:
            self._leave(feature, f"rows of shape {feature.shape}: a sensor has numbers in a row")
        elif self._seen[feature.name].sizes != {math.prod(feature.shape)}:
            has = " or ".join(map(str, sorted(self._seen[feature.name].sizes)))
            said = math.prod(feature.shape)
            self._leave(feature, f"its rows have {has} numbers, meta says {said}")
        elif not self._seen[feature.name].moves.any():
            self._leave(feature, f"it never changes ({self._seen[feature.name]})")
        elif feature.name.startswith("next."):
            self._leave(feature, "it speaks of the next row; a target, if anything")
        else:
            self._numbers(feature)

    def _leave(self, feature: Feature, why: str) -> None:
        self.left_out.append(f"{feature.name}: {why}")

    def named(self, by_column: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of columns by the names of their sensors and targets."""
        names = naming.distinct({c: self._names(c) for c in (*self.sensors, *self.targets)})
        return {names[column]: known for column, known in by_column.items()}

    def _names(self, column: str) -> naming.Candidates:
        parts = naming.cleaned(column.split("."))
        names = [naming.joined(parts[-count:]) for count in range(1, max(2, len(parts) + 1))]
        is_joints = self.sensors.get(column, {}).get("kind") == "joint_state"
        return naming.Candidates(["joints", *names] if is_joints else names)

    def _image(self, feature: Feature) -> None:
        height, width, channels = feature.shape
        if feature.is_depth and feature.dtype == "video":
            self._leave(feature, "depth in a video is not read: its levels are no metres")
            return
        if feature.dtype == "video" and not any(
            entry.has_video(feature.name) for entry in self._folder.entries
        ):
            self._leave(feature, "no video of it is there")
            return
        if not feature.is_depth and channels != 3:
            self._leave(feature, f"an image of {channels} channels; colour has 3")
            return
        entry: dict[str, Any] = {
            "kind": "depth_image" if feature.is_depth else "color_image",
            "channel": {"feature": feature.name},
            "size": _SIZE,
        }
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        if height != width:
            entry["fit"] = {"crop": [top, left, top + side, left + side]}
        self.sensors[feature.name] = entry
        self.about[feature.name] = f"{width} x {height} at {self._folder.fps:g} Hz"

    def _target(self, feature: Feature) -> None:
        self.targets[feature.name] = {"channel": {"feature": feature.name}, "binary": True}
        self.about[feature.name] = "yes or no"

    def _numbers(self, feature: Feature) -> None:
        """Declare the numbers that move: joints of a state by their names, else a vector."""
        seen = self._seen[feature.name]
        names, quantity = joints(feature)
        every = names or tuple(f"data[{n}]" for n in range(feature.shape[0]))
        is_state = feature.name.endswith("state") and bool(names)
        hand = [is_state and any(word in name.lower() for word in _HAND) for name in every]
        if sum(hand) > len(every) - _OTHERS:
            hand = [False] * len(every)
        kept = [bool(m) and not h for m, h in zip(seen.moves, hand, strict=True)]
        for why, out in (("of a hand", hand), ("never change", ~seen.moves)):
            dropped = [name for name, is_out in zip(every, out, strict=True) if is_out]
            if dropped:
                self._leave(feature, f"{len(dropped)} numbers {why}: {', '.join(dropped)}")
        chosen = [n for n, k in zip(every, kept, strict=True) if k]
        entry: dict[str, Any] = {"channel": {"feature": feature.name}}
        if is_state:
            entry = {"kind": "joint_state", **entry, "joints": chosen, "select": [quantity]}
        else:
            fields = feature.names or every
            entry = {
                "kind": "vector",
                **entry,
                "select": [n for n, k in zip(fields, kept, strict=True) if k],
            }
        about = f"{len(chosen)} of {len(every)} numbers at {self._folder.fps:g} Hz, {seen}"
        if is_state and quantity == "position" and _beyond(seen):
            entry["unit"] = "1"
            about += "; no radians: say the unit"
        self.sensors[feature.name] = entry
        self.about[feature.name] = about


def _beyond(seen: _Seen) -> bool:
    return bool(max(-seen.low.min(), seen.high.max()) > _LARGEST_ANGLE)
