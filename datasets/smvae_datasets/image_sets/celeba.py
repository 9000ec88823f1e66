"""CelebA at 64 x 64 with MVAE's 18 attributes, prepared once from the published files.

Layout: `img_align_celeba/*.jpg`, `list_attr_celeba.txt`, `list_eval_partition.txt`. Images are cut
to the central square and area-averaged; MVAE's Resize(64) and CenterCrop(64) round the cut to whole
pixels of the small image and filter bilinearly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core import preprocessing
from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.modality import Modality
from smvae_datasets.cache import Block, code_sha256, files_sha256
from smvae_datasets.dataset import DataSetError, ImageRecords
from smvae_datasets.image_sets import decoding
from smvae_datasets.image_sets.decoding import central_square, read_image
from smvae_datasets.image_sets.once import prepare_images
from smvae_datasets.image_sets.tables import Table, read_table

IMAGE_FOLDER = "img_align_celeba"
ATTRIBUTE_FILE = "list_attr_celeba.txt"
PARTITION_FILE = "list_eval_partition.txt"
GROUP_NAMES = ("train", "valid", "test")

_FORMAT = 1
_BLOCK = 64
_SOURCES = ("image", "attributes")


def prepare_celeba(
    root: Path,
    modalities: Sequence[Modality],
    *,
    cache: Path | None = None,
    progress: bool = True,
) -> ImageRecords:
    """Return all images of `list_eval_partition.txt`, in its order, from the cache where current.

    Args:
        root: Folder of the published files.
        modalities: Any of image and attributes, by `source`; the `fields` of attributes name the
            columns of `list_attr_celeba.txt`, whose -1 and 1 become 0 and 1.
        cache: Folder of prepared sets; `celeba` in the cache folder by default.
        progress: Show a progress bar on stderr while preparing.

    Returns:
        Groups are the published parts 'train', 'valid' and 'test'; there are no labels.

    Raises:
        DataSetError: If a file is missing or damaged, or a line malformed; nothing is skipped.
        ConfigError: If a modality's source or an attribute is unknown.
    """
    chosen = tuple(modalities)
    _check_settings(chosen)
    if not root.is_dir():
        raise DataSetError(root, "no such folder", expected=f"{IMAGE_FOLDER}, ...", got="nothing")
    partition = read_table(root / PARTITION_FILE)
    group = published_groups(partition)
    paths = [root / IMAGE_FOLDER / name for name in partition.rows]
    folder, arrays = prepare_images(
        "celeba",
        root,
        chosen,
        {
            "format": _FORMAT,
            "code": code_sha256(decoding),
            "files": files_sha256([*paths, root / ATTRIBUTE_FILE, root / PARTITION_FILE]),
        },
        lambda: _jobs(root, paths, chosen),
        len(paths),
        cache=cache,
        progress=progress,
    )
    return ImageRecords(
        name="celeba",
        sensors=chosen,
        arrays=arrays,
        group=group,
        group_names=GROUP_NAMES,
        path=folder,
    )


def _check_settings(modalities: tuple[Modality, ...]) -> None:
    if not modalities:
        raise ConfigError("celeba: expected at least one modality, got none")
    for m in modalities:
        if m.source not in _SOURCES:
            hint = did_you_mean(m.source, _SOURCES)
            raise ConfigError(f"modality '{m.name}': source '{m.source}' is not in celeba.{hint}")
        if m.source == "attributes" and not m.fields:
            raise ConfigError(f"modality '{m.name}': expected fields, names of CelebA's attributes")


def published_groups(partition: Table) -> NDArray[np.int32]:
    """Return (N,) 0, 1 or 2 for train, valid and test, in the order of the table.

    Raises:
        DataSetError: If the table is empty, or a line has another value or several.
    """
    if not partition.rows:
        raise DataSetError(partition.path, "empty", expected="a line for every image", got="none")
    values = np.stack(list(partition.rows.values()))
    bad = np.flatnonzero((values[:, 0] < 0) | (values[:, 0] > 2)) if values.shape[1] == 1 else [0]
    if len(bad):
        name = list(partition.rows)[bad[0]]
        raise DataSetError(
            partition.path,
            name,
            line=partition.lines[name],
            expected="0 (train), 1 (valid) or 2 (test)",
            got=" ".join(map(str, partition.rows[name])),
        )
    return values[:, 0]


def _attributes(table: Table, names: Sequence[str], modality: Modality) -> NDArray[np.uint8]:
    """Return (N, C) 0 or 1, the columns that the modality's fields name."""
    if not table.columns:
        expected = "the number of images, then a line that names the attributes"
        raise DataSetError(table.path, "header", line=1, expected=expected, got="none")
    for field in modality.fields:
        if field not in table.columns:
            hint = did_you_mean(field, table.columns)
            raise ConfigError(
                f"modality '{modality.name}': '{field}' is no column of {table.path}.{hint}"
            )
    rows = np.stack([table.row(name) for name in names])
    wrong = np.argwhere((rows != 1) & (rows != -1))
    if len(wrong):
        n, column = wrong[0]
        what, line = table.columns[column], table.lines[names[n]]
        raise DataSetError(table.path, what, line=line, expected="-1 or 1", got=rows[n, column])
    return (rows[:, [table.columns.index(f) for f in modality.fields]] == 1).astype(np.uint8)


def _jobs(
    root: Path, paths: list[Path], modalities: tuple[Modality, ...]
) -> Iterator[Callable[[], Block]]:
    fixed: dict[str, NDArray[Any]] = {}
    for m in modalities:
        if m.source == "attributes":
            table = read_table(root / ATTRIBUTE_FILE)
            fixed[m.name] = _attributes(table, [p.name for p in paths], m)
    images = [m for m in modalities if m.source == "image"]
    for start in range(0, len(paths), _BLOCK):
        part = slice(start, start + _BLOCK)
        rest = {name: values[part] for name, values in fixed.items()}
        yield _Job(paths[part], images, rest)


class _Job:
    """The next few images, read, cut and prepared, beside their attributes."""

    def __init__(self, paths: list[Path], images: list[Modality], rest: dict[str, Any]) -> None:
        self._paths, self._images, self._rest = paths, images, rest

    def __call__(self) -> Block:
        block = dict(self._rest)
        if self._images:
            squares = [central_square(read_image(path))[0] for path in self._paths]
            for m in self._images:
                block[m.name] = np.stack([preprocessing.prepare(m, s) for s in squares])
        return block
