"""Arrays prepared once: a folder of .npy memmaps, whole or absent, reused while nothing changed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from smvae_datasets.image_sets.fetching import only_one
from smvae_datasets.records import DataSetError

logger = logging.getLogger(__name__)

Block = Mapping[str, NDArray[Any]]
"""Array name -> (k, *shape), the next k records."""

_MANIFEST = "prepared.json"
_WORKERS = min(8, os.cpu_count() or 1)


def prepare_once(
    cache: Path,
    manifest: Mapping[str, Any],
    jobs: Callable[[], Iterable[Callable[[], Block]]],
    total: int,
    *,
    progress: bool = True,
) -> Path:
    """Return the folder of prepared arrays, written first if it is not there.

    Args:
        cache: Folder of prepared sets; made if missing.
        manifest: Everything that the arrays depend on, as JSON. Sets of the same 'set' and 'root'
            with another 'files' or 'code' are outdated and removed.
        jobs: Called only if needed; gives the work in order, done by several threads.
        total: Number of records in all blocks together.
        progress: Show a progress bar on stderr.

    Raises:
        DataSetError: If the cache cannot be written.
    """
    wanted = json.loads(json.dumps(manifest))
    key = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / key
    with only_one(cache):
        if (folder / _MANIFEST).is_file():
            logger.info("prepared images reused: %s", folder)
            return folder
        temporary = folder.with_name(f".{key}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.mkdir()
        try:
            _write(temporary, jobs(), total, progress)
            (temporary / _MANIFEST).write_text(json.dumps(wanted))
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _remove_outdated(folder, wanted)
    return folder


def open_arrays(folder: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a prepared folder as read-only memmaps."""
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}


def files_sha256(files: Sequence[Path]) -> str:
    """Return a digest of names, sizes and times of change, in order.

    Raises:
        DataSetError: If a file is missing.
    """
    state = hashlib.sha256()
    for path in files:
        try:
            stat = path.stat()
        except OSError as err:
            expected = "a file that belongs to the data set"
            raise DataSetError(path, "no such file", expected=expected, got="nothing") from err
        state.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return state.hexdigest()


def code_sha256(*modules: ModuleType) -> str:
    """Return a digest of the modules' source, so that changed code prepares anew."""
    state = hashlib.sha256()
    for module in modules:
        assert module.__file__ is not None
        state.update(Path(module.__file__).read_bytes())
    return state.hexdigest()


def _write(folder: Path, jobs: Iterable[Callable[[], Block]], total: int, progress: bool) -> None:
    out: dict[str, Any] = {}
    start = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not progress) as bar:
        task = bar.add_task("preparing images", total=total)
        for block in _in_order(jobs):
            count = len(next(iter(block.values())))
            for name, values in block.items():
                if name not in out:
                    shape = (total, *values.shape[1:])
                    path = folder / f"{name}.npy"
                    out[name] = open_memmap(path, "w+", dtype=values.dtype, shape=shape)
                out[name][start : start + count] = values
            start += count
            bar.advance(task, count)
    assert start == total, f"{start} of {total} records"
    for array in out.values():
        array.flush()


def _in_order(jobs: Iterable[Callable[[], Block]]) -> Iterator[Block]:
    """Yield the jobs' results in order, a few ahead of the reader at most."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        ahead: deque[Future[Block]] = deque()
        try:
            for job in jobs:
                ahead.append(pool.submit(job))
                if len(ahead) > 2 * _WORKERS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _remove_outdated(folder: Path, manifest: Mapping[str, Any]) -> None:
    changing = ("files", "code")
    settings = {k: v for k, v in manifest.items() if k not in changing}
    for path in folder.parent.glob(f"*/{_MANIFEST}"):
        if path.parent == folder or path.parent.name.startswith("."):
            continue
        other = json.loads(path.read_text())
        if {k: v for k, v in other.items() if k not in changing} == settings:
            logger.info("outdated prepared images removed: %s", path.parent)
            shutil.rmtree(path.parent, ignore_errors=True)
