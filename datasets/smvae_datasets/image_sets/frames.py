"""Where the images of the computer-vision tasks come from: a folder of images, or episode files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smvae_datasets.dataset import DataSetError
from smvae_datasets.image_sets.celeba import GROUP_NAMES, PARTITION_FILE, published_groups
from smvae_datasets.image_sets.decoding import IMAGE_SUFFIXES, read_image
from smvae_datasets.image_sets.tables import Table, read_table
from smvae_datasets.vision_touch.files import (
    STEPS_PER_FILE,
    list_trajectories,
    read_attributes,
    read_file,
)

#: Names of a landmarks file, looked for in the folder of images and in the one above it.
LANDMARK_FILES = ("list_landmarks_align_celeba.txt", "landmarks.txt")

#: Share of the file names, or trajectories, that are held out.
TEST_SHARE = 0.2

_BLOCK = 64

Reader = Callable[[], list[NDArray[np.uint8]]]
"""Reads the next few images, (H, W, 3) uint8 RGB each."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """N images, not read yet, and their part."""

    origin: str
    """What they are, for captions: 'images', 'robot frames' or 'simulated robot frames'."""
    files: tuple[Path, ...]
    """All files that they depend on."""
    names: tuple[str, ...]
    """(N,) file name of each image; empty for robot frames."""
    group: NDArray[np.int32]
    """(N,) index into `group_names`."""
    readers: Callable[[], Iterator[tuple[int, Reader]]]
    """Gives all images in order, a few at a time, each time with the index of the first."""
    group_names: tuple[str, ...] = ("train", "test")
    landmarks: Table | None = None
    """x y x y ... in pixels of the image file, by file name."""

    def __len__(self) -> int:
        return len(self.group)


def find_frames(root: Path) -> Frames:
    """Return the images of a folder (of any depth), or the camera's frames of episode files.

    A fifth of the images is held out, chosen by a hash of the file name; of episodes, a fifth of
    the trajectories, by a hash of their names. CelebA's partition file in the folder goes before.

    Raises:
        DataSetError: If the folder is missing, holds neither or both, or fewer than 2 images or
            trajectories, or the landmarks cannot be read.
        EpisodeError: If an episode file is out of place.
    """
    if not root.is_dir():
        raise DataSetError(root, "no such folder", expected="images or episodes", got="nothing")
    episodes = any(not path.name.startswith(".") for path in root.glob("*.h5"))
    images = _image_files(root)
    if episodes and images:
        got = f"both, e.g. {images[0].name}"
        raise DataSetError(root, "folder", expected="images or episode files", got=got)
    if episodes:
        return _robot_frames(root)
    if not images:
        expected = f"files that end in {', '.join(IMAGE_SUFFIXES)}, or NAME_<k>_1000.h5"
        raise DataSetError(root, "no images", expected=expected, got="none")
    return _folder_frames(root, images)


def _held_out(root: Path, names: list[str]) -> NDArray[np.int32]:
    """Return (N,) 1 for the fifth of the names with the smallest SHA-256, at least one."""
    if len(names) < 2:
        expected = "at least 2 images or trajectories, to hold one out"
        raise DataSetError(root, "too few", expected=expected, got=len(names))
    order = np.argsort([sha256(name.encode()).hexdigest() for name in names], kind="stable")
    out = np.zeros(len(names), np.int32)
    out[order[: max(1, round(TEST_SHARE * len(names)))]] = 1
    return out


def _image_files(root: Path) -> list[Path]:
    found = (p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    inside = ((p.relative_to(root), p) for p in found)
    return [p for relative, p in sorted(inside) if not any(s[0] == "." for s in relative.parts)]


def _folder_frames(root: Path, files: list[Path]) -> Frames:
    def readers() -> Iterator[tuple[int, Reader]]:
        for start in range(0, len(files), _BLOCK):
            yield start, partial(_read_images, files[start : start + _BLOCK])

    group, group_names = _folder_groups(root, files)
    places = (folder / name for folder in (root, root.parent) for name in LANDMARK_FILES)
    landmarks = next((path for path in places if path.is_file()), None)
    return Frames(
        origin="images",
        files=tuple(files) + ((landmarks,) if landmarks else ()),
        names=tuple(path.name for path in files),
        group=group,
        group_names=group_names,
        readers=readers,
        landmarks=_landmarks(landmarks) if landmarks else None,
    )


def _folder_groups(root: Path, files: list[Path]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return CelebA's parts, which keep persons apart, where its file is; else a hashed fifth."""
    partition = root / PARTITION_FILE
    if not partition.is_file():
        return _held_out(root, [p.relative_to(root).as_posix() for p in files]), ("train", "test")
    table = read_table(partition)
    group = dict(zip(table.rows, published_groups(table).tolist(), strict=True))
    for path in files:
        table.row(path.name)
    return np.array([group[path.name] for path in files], np.int32), GROUP_NAMES


def _read_images(paths: list[Path]) -> list[NDArray[np.uint8]]:
    return [read_image(path) for path in paths]


def _read_frames(path: Path) -> list[NDArray[np.uint8]]:
    return list(read_file(path, ("image",))["image"])


def _landmarks(path: Path) -> Table:
    table = read_table(path)
    for name, values in table.rows.items():
        if len(values) % 2:
            line = table.lines[name]
            expected = "x and y of each point, an even number of values"
            raise DataSetError(path, name, line=line, expected=expected, got=len(values))
    return table


def _robot_frames(root: Path) -> Frames:
    trajectories = list_trajectories(root)
    files = [path for t in trajectories for path in t.files]
    simulated = "condition" in read_attributes(files[0])  # the simulator's mark
    test = _held_out(root, [t.name for t in trajectories])

    def readers() -> Iterator[tuple[int, Reader]]:
        for k, path in enumerate(files):
            yield STEPS_PER_FILE * k, partial(_read_frames, path)

    return Frames(
        origin="simulated robot frames" if simulated else "robot frames",
        files=tuple(files),
        names=(),
        group=np.repeat(test, [STEPS_PER_FILE * len(t.files) for t in trajectories]),
        readers=readers,
    )
