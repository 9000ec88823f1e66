"""One entry for all data sets: the name a preset gives, its prepared records back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.modality import Modality
from smvae_datasets.dataset import Dataset
from smvae_datasets.image_sets.celeba import prepare_celeba
from smvae_datasets.image_sets.mnist import FASHION, MNIST, load_idx_set
from smvae_datasets.image_sets.vision_tasks import prepare_vision_tasks
from smvae_datasets.recordings.folder import holds_episodes
from smvae_datasets.recordings.prepared import prepare_recordings
from smvae_datasets.vision_touch.files import list_trajectories
from smvae_datasets.vision_touch.prepared import prepare_episodes
from smvae_datasets.vision_touch.steps import ActionPairing

Source = Literal["episodes", "mnist", "fashion", "celeba", "vision_tasks"]
#: Sources whose records have targets; the others' labels and attributes are modalities.
WITH_TARGETS: tuple[Source, ...] = ("episodes",)


def check_place(source: Source, root: Path | None) -> None:
    """Refuse at once a place where a data set cannot be; nothing is read of its files.

    Raises:
        ConfigError: If the source needs a folder and `root` is missing.
        EpisodeError: If it holds no episodes.
    """
    if source in ("mnist", "fashion"):
        return
    root = _folder_of(source, root)
    if source == "episodes" and not holds_episodes(root):
        list_trajectories(root)


def _folder_of(source: Source, root: Path | None) -> Path:
    """Return the folder of a source that cannot be found or fetched."""
    if root is None:
        raise ConfigError(f"data source '{source}': expected the folder of its files, got none")
    return root


def prepare_source(
    source: Source,
    root: Path | None,
    modalities: Sequence[Modality],
    *,
    action: ActionPairing = "newest",
    binarised: bool = False,
    progress: bool = True,
) -> Dataset:
    """Return the prepared records of a data set.

    Args:
        source: Which one.
        root: Folder of its files, of episodes also one that `smvae episodes` wrote; None where the
            data set can be found or fetched (MNIST, Fashion).
        modalities: What to prepare, each from the field `modality.source`.
        action: Vision&Touch episodes only, see `prepare_episodes`.
        binarised: MNIST only, see `load_idx_set`.
        progress: Show a progress bar on stderr.

    Raises:
        ConfigError: If a setting is unknown or does not belong to the source, or `root` is missing.
        EpisodeError: If episode files cannot be used.
        DataSetError: If other files cannot be used.
        DownloadError: If a data set is nowhere and cannot be fetched.
    """
    if source not in get_args(Source):
        hint = did_you_mean(str(source), get_args(Source))
        raise ConfigError(f"data source '{source}': expected one of {get_args(Source)}.{hint}")
    if binarised and source != "mnist":
        raise ConfigError(f"data source '{source}': only MNIST has a binarised test set")
    if source == "mnist":
        return load_idx_set(MNIST, root, modalities, binarised=binarised, progress=progress)
    if source == "fashion":
        return load_idx_set(FASHION, root, modalities, progress=progress)
    root = _folder_of(source, root)
    if source == "episodes" and holds_episodes(root):
        return prepare_recordings(root, modalities, progress=progress)
    if source == "episodes":
        return prepare_episodes(root, modalities, action=action, progress=progress)
    if source == "celeba":
        return prepare_celeba(root, modalities, progress=progress)
    return prepare_vision_tasks(root, modalities, progress=progress)
