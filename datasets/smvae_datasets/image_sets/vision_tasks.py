"""The six computer-vision modalities of the paper's section 4.3, made from any images.

image, grey, edges, landmark mask, half-occluded, watermarked. The mask needs landmarks, which no
package at hand finds: they come from a text file in CelebA's form, or the mask is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core import preprocessing
from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.modality import Modality
from smvae_datasets.cache import Block, code_sha256, files_sha256
from smvae_datasets.dataset import ImageRecords
from smvae_datasets.image_sets import decoding, frames, transforms
from smvae_datasets.image_sets.decoding import central_square
from smvae_datasets.image_sets.frames import LANDMARK_FILES, Frames, Reader, find_frames
from smvae_datasets.image_sets.once import prepare_images
from smvae_datasets.image_sets.transforms import CELEBA_SIDE_PX, landmark_mask

#: What a modality's `source` can be, in the order of the paper's Table 6.
TASKS = ("image", "grey", "edges", "mask", "occluded", "watermarked")

_FORMAT = 1


def prepare_vision_tasks(
    root: Path,
    modalities: Sequence[Modality],
    *,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
) -> ImageRecords:
    """Return all images of `root` and their transformations, from the cache where it is current.

    Every image is cut to its central square and, if larger, area-averaged to CelebA's width; the
    transformations are made there, then area-averaged to the network's side, as in MVAE.

    Args:
        root: Folder of images, with a landmarks file if there is one, or of episode files, whose
            camera frames are used.
        modalities: Any of TASKS, by `source`.
        seed: Which half of each image is occluded.
        cache: Folder of prepared sets; `vision_tasks` in the cache folder by default.
        progress: Show a progress bar on stderr while preparing.

    Returns:
        Groups 'train' and 'test' (CelebA also 'valid'), see `find_frames`; `origin` says what
        the images are.

    Raises:
        ConfigError: If a modality's source is unknown, or is the mask and there are no landmarks.
        DataSetError: If images or landmarks cannot be used; nothing is skipped.
        EpisodeError: If an episode file cannot be used.
        MissingDependency: If edges are asked for and scikit-image is not installed.
    """
    chosen = tuple(modalities)
    _check_sources(chosen)
    found = find_frames(root)
    if found.landmarks is None:
        _refuse_mask(root, chosen)
    folder, arrays = prepare_images(
        "vision_tasks",
        root,
        chosen,
        {
            "format": _FORMAT,
            "seed": seed,
            "code": code_sha256(decoding, frames, transforms),
            "files": files_sha256(found.files),
        },
        lambda: _jobs(found, chosen, seed),
        len(found),
        cache=cache,
        progress=progress,
    )
    return ImageRecords(
        name="vision_tasks",
        origin=found.origin,
        sensors=chosen,
        arrays=arrays,
        group=found.group,
        group_names=found.group_names,
        published=False,
        path=folder,
    )


def transform(
    task: str,
    image: NDArray[np.uint8],
    *,
    index: int = 0,
    seed: int = 0,
    points: NDArray[Any] | None = None,
) -> NDArray[np.uint8]:
    """Return one of TASKS of a square RGB image (S, S, 3): (S, S, 3) or (S, S) uint8.

    Args:
        task: Which one; `mask` needs `points`.
        image: (S, S, 3) uint8 RGB.
        index: The image's place in its data set, for `occluded`.
        seed: For `occluded`.
        points: (K, 2) landmarks in pixels of `image`, for `mask`.
    """
    if task == "image":
        return image
    if task == "occluded":
        return transforms.occluded(image, index, seed)
    if task == "mask":
        assert points is not None
        return landmark_mask(points, image.shape[0])
    made: NDArray[np.uint8] = _PLAIN[task](image)
    return made


_PLAIN: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "grey": transforms.grey,
    "edges": transforms.edges,
    "watermarked": transforms.watermarked,
}


def _check_sources(modalities: tuple[Modality, ...]) -> None:
    if not modalities:
        raise ConfigError("vision_tasks: expected at least one modality, got none")
    for m in modalities:
        if m.source not in TASKS:
            hint = did_you_mean(m.source, TASKS)
            raise ConfigError(
                f"modality '{m.name}': source '{m.source}' is not one of {', '.join(TASKS)}.{hint}"
            )


def _refuse_mask(root: Path, modalities: tuple[Modality, ...]) -> None:
    """Refuse a mask of images without landmarks.

    Raises:
        ConfigError: If a modality is the mask.
    """
    for m in modalities:
        if m.source == "mask":
            others = "+".join(other.name for other in modalities if other.source != "mask")
            raise ConfigError(
                f"modality '{m.name}': {root} has no landmarks, so there is no mask: expected "
                f"{' or '.join(LANDMARK_FILES)} beside the images, or a model without it "
                f"(--model.modalities vision_tasks:{m.shape[-1]}:{others})"
            )


def _jobs(
    found: Frames, modalities: tuple[Modality, ...], seed: int
) -> Iterator[Callable[[], Block]]:
    for start, reader in found.readers():
        yield _Job(reader, start, found, modalities, seed)


class _Job:
    """The next few images, read and transformed."""

    def __init__(
        self, reader: Reader, start: int, found: Frames, modalities: tuple[Modality, ...], seed: int
    ) -> None:
        self._reader, self._start, self._found = reader, start, found
        self._modalities, self._seed = modalities, seed

    def __call__(self) -> Block:
        made: dict[str, list[NDArray[Any]]] = {m.name: [] for m in self._modalities}
        for index, image in enumerate(self._reader(), start=self._start):
            square, left, top = central_square(image)
            points = self._points(index, left, top)
            if square.shape[0] > CELEBA_SIDE_PX:
                scale = CELEBA_SIDE_PX / square.shape[0]
                size = (CELEBA_SIDE_PX, CELEBA_SIDE_PX)
                square = cv2.resize(square, size, interpolation=cv2.INTER_AREA)
                points = None if points is None else points * scale
            for m in self._modalities:
                task = transform(m.source, square, index=index, seed=self._seed, points=points)
                made[m.name].append(preprocessing.prepare(m, task))
        return {name: np.stack(values) for name, values in made.items()}

    def _points(self, index: int, left: int, top: int) -> NDArray[np.float64] | None:
        """Return the landmarks (K, 2) in pixels of the square, None where none are asked for."""
        if self._found.landmarks is None or all(m.source != "mask" for m in self._modalities):
            return None
        row = self._found.landmarks.row(self._found.names[index])
        return row.reshape(-1, 2).astype(np.float64) - (left, top)
