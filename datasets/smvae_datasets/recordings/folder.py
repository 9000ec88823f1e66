"""A folder of episodes: `episodes.json`, `summary.json`, and a folder for each recording."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smvae_core.errors import SMVAEError
from smvae_core.robot import Robot
from smvae_datasets.dataset import DataSetError
from smvae_datasets.recordings.declared import CONVERTER, FORMAT, Declared

logger = logging.getLogger(__name__)

#: The robot's declaration; says that a folder is one of episodes.
EPISODES = "episodes.json"
#: What became of every message, of the recordings that were named last.
SUMMARY = "summary.json"
#: In the folder of a recording, once that is whole.
RECORDING = "recording.json"
#: Said of a recording whose episodes another CONVERTER made.
OUTDATED = "was converted by an earlier version, which kept other samples or stamps"


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode of a recording."""

    name: str
    files: tuple[Path, ...]
    steps: int
    has_steps: bool
    """Whether its files hold the steps of the declaration as it is now."""


def holds_episodes(root: Path) -> bool:
    """Return whether `smvae episodes` made a folder."""
    return (root / EPISODES).is_file()


def read_declaration(root: Path) -> Robot:
    """Return the robot of a folder of episodes.

    Raises:
        DataSetError: If it is no such folder, or its declaration cannot be read.
    """
    path = root / EPISODES
    found = read_json(path)
    if found.get("format") != FORMAT:
        raise DataSetError(path, "format of episodes", expected=FORMAT, got=found.get("format"))
    try:
        return Robot.from_json(found["robot"])
    except (SMVAEError, KeyError, TypeError) as err:
        raise DataSetError(path, f"the robot's declaration cannot be read: {err}") from err


def list_episodes(root: Path) -> list[Episode]:
    """Return the episodes of all recordings in a folder, by name.

    Raises:
        DataSetError: If there is none, or one was made by another declaration.
    """
    declared = Declared.of(read_declaration(root))
    episodes: list[Episode] = []
    for path in recordings_of(root):
        found = read_json(path)
        if found["samples_sha256"] != declared.samples_sha256:
            hint = f"name {found['path']} beside the others, or remove {path.parent}"
            raise DataSetError(path, "was converted by another declaration", hint=hint)
        if found.get("converter") != CONVERTER:
            logger.warning("%s %s: give `smvae episodes` again", found["path"], OUTDATED)
        has_steps = found["steps_sha256"] == declared.steps_sha256
        episodes += episodes_of(path.parent, found, has_steps=has_steps)
    if not episodes:
        raise DataSetError(root, "holds no episode", hint="see what summary.json says")
    return episodes


def episodes_of(folder: Path, found: Mapping[str, Any], *, has_steps: bool) -> list[Episode]:
    """Return the episodes that recording.json names, in the folder of their recording."""
    return [
        Episode(
            name=f"{folder.name}/{number:04d}",
            files=tuple(folder / name for name in each["files"]),
            steps=each["steps"],
            has_steps=has_steps,
        )
        for number, each in enumerate(found["episodes"])
    ]


def message_counts(root: Path) -> dict[str, dict[str, Any]]:
    """Return what became of the messages of each sensor and target, over all recordings.

    Numbers as `recordings.convert.Counts` has them, refused ones by reason.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in recordings_of(root):
        recording = read_json(path)
        for name, counts in (recording["sensors"] | recording["targets"]).items():
            known = found.setdefault(name, {"refused": {}, "first_refused": ""})
            for key, value in counts.items():
                if isinstance(value, int):
                    known[key] = known.get(key, 0) + value
            for reason, count in counts["refused"].items():
                known["refused"][reason] = known["refused"].get(reason, 0) + count
            known["first_refused"] = known["first_refused"] or counts["first_refused"]
    return found


def recordings_of(root: Path) -> list[Path]:
    """Return recording.json of all recordings that are whole, by name."""
    found = sorted(root.glob(f"*/{RECORDING}"))
    return [path for path in found if not path.parent.name.startswith(".")]


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        DataSetError: If the file is not there, or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise DataSetError(path, "no such file") from err
    except (OSError, ValueError) as err:
        raise DataSetError(path, f"is damaged: {err}") from err
    if not isinstance(found, dict):
        raise DataSetError(path, "is damaged: expected an object")
    return found
