"""Images prepared once into a set's folder of the cache, by one process at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from smvae_core.modality import Modality
from smvae_datasets.cache import Arrays, Block, cache_folder, in_order, prepare_once
from smvae_datasets.image_sets.fetching import only_one


def prepare_images(
    name: str,
    root: Path,
    modalities: tuple[Modality, ...],
    further: Mapping[str, Any],
    jobs: Callable[[], Iterable[Callable[[], Block]]],
    count: int,
    *,
    cache: Path | None,
    progress: bool,
) -> tuple[Path, Arrays]:
    """Return the folder of a set's prepared arrays, and the arrays; see `cache.prepare_once`.

    Args:
        name: Of the set, and of its folder in the cache.
        root: Folder of what is prepared.
        modalities: Each is an array.
        further: What the arrays depend on beside these.
        jobs: Gives blocks of records when called, in order.
        count: Number of records.
        cache: Folder of prepared sets; the set's in the cache folder by default.
        progress: Show a progress bar on stderr.

    Raises:
        DataSetError: If the set cannot be read back once it is written.
    """
    about = {
        "set": name,
        "root": str(root.resolve()),
        "modalities": [m.to_json() for m in modalities],
    }
    place = cache if cache is not None else cache_folder() / name
    with only_one(place):
        return prepare_once(
            place,
            {**about, **further},
            [m.name for m in modalities],
            lambda: in_order(jobs()),
            count,
            progress=progress,
        )
