"""Episodes prepared once for training: `preprocessing.prepare` of every sample, as .npy memmaps.

Conversion streams one file at a time; the result is a folder that is complete or absent. It is
reused as long as the settings, the preprocessing code and the episode files (name, size, time of
change) are the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from smvae_core import preprocessing
from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.modality import Modality
from smvae_datasets.prepared_steps import ActionPairing, prepared_steps
from smvae_datasets.vision_touch import FIELD, Trajectory, list_trajectories

logger = logging.getLogger(__name__)

_FORMAT = 1
_MANIFEST = "prepared.json"
_LABELS: dict[str, tuple[tuple[int, ...], str]] = {
    "trajectory": ((), "int32"),
    "step": ((), "int32"),
    "contact": ((), "bool"),
    "offset_m": ((3,), "float32"),
    "position_m": ((3,), "float32"),
}


@dataclass(frozen=True, kw_only=True)
class PreparedEpisodes:
    """N samples, in order of trajectory and step; arrays are read-only memmaps."""

    arrays: dict[str, NDArray[Any]]
    """Modality name -> (N, *modality.shape) in the dtype of `preprocessing.prepare`."""
    trajectory: NDArray[np.int32]
    """(N,) index into `trajectory_names`."""
    step: NDArray[np.int32]
    """(N,) step within the trajectory, 20 Hz, from 0."""
    contact: NDArray[np.bool_]
    """(N,) True if any of the last 32 force readings of the step was in contact."""
    offset_m: NDArray[np.float32]
    """(N, 3) peg tip (`ee_pos`) minus hole, NaN where the file has no hole_pose attribute."""
    position_m: NDArray[np.float32]
    """(N, 3) peg tip (`ee_pos`) in the base frame."""
    trajectory_names: tuple[str, ...]
    action: ActionPairing = "newest"
    path: Path | None = None
    """The cache folder."""

    def __len__(self) -> int:
        return len(self.trajectory)

    @property
    def group(self) -> NDArray[np.int32]:
        """(N,) what a split keeps together: the trajectory."""
        return self.trajectory

    @property
    def group_names(self) -> tuple[str, ...]:
        return self.trajectory_names


def prepare_episodes(
    root: Path,
    modalities: Sequence[Modality],
    *,
    action: ActionPairing = "newest",
    cache: Path | None = None,
    progress: bool = True,
) -> PreparedEpisodes:
    """Return all steps of the trajectories in `root`, prepared, from the cache where it is current.

    Args:
        root: Folder of `NAME_<k>_1000.h5` files.
        modalities: What to prepare; each is read from the field `modality.source`.
        action: Pairing of modalities read from the field `action`. "newest": observation t with
            action t, the newest command at that time, which a live node can do as well. "next":
            observation t with action t + 1, as the data set's authors do; the last step of each
            trajectory has none and is dropped (their loader drops the last step of each *file*).
        cache: Folder of prepared sets; `root/.prepared` by default.
        progress: Show a progress bar on stderr while converting.

    Raises:
        EpisodeError: If a file or the folder cannot be used; nothing is skipped.
        ConfigError: If a modality's source is no field, or `action` is unknown.
    """
    chosen = tuple(modalities)
    _check_settings(chosen, action)
    trajectories = list_trajectories(root)
    manifest = _manifest(root, trajectories, chosen, action)
    key = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    folder = (cache if cache is not None else root / ".prepared") / key
    if _is_current(folder, manifest):
        logger.info("prepared episodes reused: %s", folder)
    else:
        _convert(folder, manifest, trajectories, chosen, action, progress)
        _remove_outdated(folder, manifest)
    return _open(folder, chosen, trajectories, action)


def _check_settings(modalities: tuple[Modality, ...], action: str) -> None:
    if action not in ("newest", "next"):
        raise ConfigError(f"action pairing: expected 'newest' or 'next', got '{action}'")
    if not modalities:
        raise ConfigError("prepare: expected at least one modality, got none")
    names = [m.name for m in modalities]
    if len(set(names)) != len(names) or set(names) & set(_LABELS):
        raise ConfigError(
            f"prepare: modality names must differ from each other and from labels: {names}"
        )
    for m in modalities:
        if m.source not in FIELD:
            hint = did_you_mean(m.source, FIELD)
            raise ConfigError(
                f"modality '{m.name}': source '{m.source}' is no episode field.{hint}"
            )


def _manifest(
    root: Path, trajectories: list[Trajectory], modalities: tuple[Modality, ...], action: str
) -> dict[str, Any]:
    """Return everything the prepared arrays depend on, as JSON."""
    files = [path for t in trajectories for path in t.files]
    stats = [path.stat() for path in files]
    code = Path(preprocessing.__file__).read_bytes()
    return {
        "format": _FORMAT,
        "root": str(root.resolve()),
        "modalities": json.loads(json.dumps([m.to_json() for m in modalities])),
        "action": action,
        "preprocessing_sha256": hashlib.sha256(code).hexdigest(),
        "files": [[p.name, s.st_size, s.st_mtime_ns] for p, s in zip(files, stats, strict=True)],
    }


def _is_current(folder: Path, manifest: dict[str, Any]) -> bool:
    path = folder / _MANIFEST
    return path.is_file() and json.loads(path.read_text()) == manifest


def _remove_outdated(folder: Path, manifest: dict[str, Any]) -> None:
    """Remove prepared sets of the same root and settings whose files or code have changed since."""
    same = ("root", "modalities", "action")
    for path in folder.parent.glob(f"*/{_MANIFEST}"):
        if path.parent == folder or path.parent.name.startswith("."):
            continue
        other = json.loads(path.read_text())
        if all(other.get(name) == manifest[name] for name in same):
            logger.info("outdated prepared episodes removed: %s", path.parent)
            shutil.rmtree(path.parent, ignore_errors=True)


def _convert(
    folder: Path,
    manifest: dict[str, Any],
    trajectories: list[Trajectory],
    modalities: tuple[Modality, ...],
    action: ActionPairing,
    progress: bool,
) -> None:
    """Write the folder whole: into a hidden one beside it, renamed at the end."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write_arrays(temporary, trajectories, modalities, action, progress)
        (temporary / _MANIFEST).write_text(json.dumps(manifest))
        try:
            os.replace(temporary, folder)
        except OSError:
            if not _is_current(folder, manifest):  # else another process was faster: same content
                shutil.rmtree(folder)
                os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_arrays(
    folder: Path,
    trajectories: list[Trajectory],
    modalities: tuple[Modality, ...],
    action: ActionPairing,
    progress: bool,
) -> None:
    dropped = 1 if action == "next" else 0
    total = sum(t.steps - dropped for t in trajectories)
    out = {
        name: open_memmap(folder / f"{name}.npy", "w+", dtype=dtype, shape=(total, *shape))
        for name, (shape, dtype) in _LABELS.items()
    }
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    start = 0
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not progress) as bar:
        files = sum(len(t.files) for t in trajectories)
        task = bar.add_task("preparing episode files", total=files)
        for index, trajectory in enumerate(trajectories):
            for block in prepared_steps(trajectory, index, modalities, action):
                stop = start + len(block["step"])
                for name, values in block.items():
                    if name not in out:
                        shape = (total, *values.shape[1:])
                        path = folder / f"{name}.npy"
                        out[name] = open_memmap(path, "w+", dtype=values.dtype, shape=shape)
                    out[name][start:stop] = values
                start = stop
                bar.advance(task)
    assert start == total
    for array in out.values():
        array.flush()


def _open(
    folder: Path,
    modalities: tuple[Modality, ...],
    trajectories: list[Trajectory],
    action: ActionPairing,
) -> PreparedEpisodes:
    return PreparedEpisodes(
        arrays={m.name: np.load(folder / f"{m.name}.npy", mmap_mode="r") for m in modalities},
        **{name: np.load(folder / f"{name}.npy") for name in _LABELS},
        trajectory_names=tuple(t.name for t in trajectories),
        action=action,
        path=folder,
    )
