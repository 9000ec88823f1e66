"""Folders that the contenders read, made once in a work folder; what is given stays untouched."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import h5py

from smvae_datasets.recordings.folder import EPISODES
from smvae_datasets.vision_touch.files import list_trajectories


def linked(paths: Iterable[Path], out: Path) -> Path:
    """Return a folder of links, so that what is prepared of it lies beside them."""
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        link = out / path.name
        if not link.is_symlink():
            link.symlink_to(path.resolve())
    return out


def vision_touch_links(episodes: Path, out: Path, count: int) -> Path:
    """Return a folder of links to the first trajectories."""
    found = list_trajectories(episodes)[:count]
    return linked((path for each in found for path in each.files), out)


def recording_links(episodes: Path, out: Path, count: int) -> Path:
    """Return a folder of links to the first recordings of a folder of `smvae episodes`."""
    found = sorted(p for p in episodes.iterdir() if p.is_dir() and not p.name.startswith("."))
    return linked([episodes / EPISODES, *found[:count]], out)


def without_compression(files: Iterable[Path], out: Path) -> Path:
    """Write files once more, every array in one piece and as it is: rows are read fastest so."""
    out.mkdir(parents=True, exist_ok=True)
    for path in files:
        target = out / path.name
        if target.exists():
            continue
        part = target.with_suffix(".part")
        with h5py.File(path) as source, h5py.File(part, "w", libver="latest") as copy:
            for name, values in source.items():
                copy.create_dataset(name, data=values[()])
        part.rename(target)
    return out


def forget(folder: Path) -> int:
    """Have the system drop the files of a folder from its memory; return their bytes."""
    total = 0
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        total += path.stat().st_size
    return total
