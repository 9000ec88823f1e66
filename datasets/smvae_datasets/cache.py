"""Arrays prepared once: a folder of .npy memmaps, whole or absent, reused while nothing changed.

Every process writes into a hidden folder of its own and renames it at the end, so that any number
may prepare one set at once: the first one's stays, the others use it. What stands there is opened
before it is believed; a set that cannot be opened is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from smvae_core import preprocessing
from smvae_core.files import naming, write_text
from smvae_datasets.dataset import DataSetError

logger = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]
Block = Mapping[str, NDArray[Any]]
"""Array name -> (k, *shape), the next k records."""

#: Environment variable that moves the cache.
CACHE_VARIABLE = "SMVAE_CACHE"
_MANIFEST = "prepared.json"
#: What may change between two prepared sets of which the later one replaces the earlier.
_CHANGING = ("format", "set", "files", "code", "preprocessing_sha256", "modalities")
_WORKERS = min(8, os.cpu_count() or 1)
#: A neighbour may remove a set between its writing and its opening, but hardly time and again.
_TRIES = 4


def prepare_once(
    cache: Path,
    manifest: Mapping[str, Any],
    names: Iterable[str],
    blocks: Callable[[], Iterable[Block]],
    total: int,
    *,
    progress: bool = True,
) -> tuple[Path, Arrays]:
    """Return the folder of prepared arrays and the arrays, written first where they are not there.

    Args:
        cache: Folder of prepared sets; made if missing.
        manifest: Everything that the arrays depend on, as JSON. Sets of the same settings with
            other 'files', 'code' or 'format' are outdated and removed.
        names: Of the arrays.
        blocks: Called only if needed; gives the records in order.
        total: Number of records in all blocks together.
        progress: Show a progress bar on stderr.

    Returns:
        The folder, and its arrays (total, *shape) as read-only memory maps.

    Raises:
        DataSetError: If the set cannot be read back once it is written.
    """
    wanted = json.loads(json.dumps(manifest))
    key = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    folder, expected = _place(cache, key), tuple(names)
    problem = ""
    for attempt in range(_TRIES):
        if os.path.lexists(folder):
            try:
                arrays = _open(folder, wanted, expected, total)
            except DataSetError as err:
                problem = str(err)
                logger.warning("prepared again: %s", problem)
            else:
                logger.info("%s: %s", "prepared" if attempt else "prepared set reused", folder)
                return folder, arrays
        temporary = folder.with_name(f".{key}.{uuid.uuid4().hex[:12]}.part")
        try:
            temporary.mkdir(parents=True)
            _write_arrays(temporary, blocks(), total, progress)
            write_text(temporary / _MANIFEST, json.dumps(wanted))
            _publish(temporary, folder, lambda: _open(folder, wanted, expected, total))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _remove_outdated(folder, wanted)
    raise DataSetError(folder, f"is damaged each time that it is written ({problem})")


def _place(cache: Path, key: str) -> Path:
    """Return where a set is kept: beside the data, or elsewhere where that cannot be written."""
    folder, above = cache / key, cache
    while not above.exists():
        above = above.parent
    if folder.exists() or os.access(above, os.W_OK):
        return folder
    elsewhere = cache_folder() / "prepared"
    logger.info("%s cannot be written: prepared sets are kept in %s", cache, elsewhere)
    return elsewhere / key


def cache_folder() -> Path:
    """Return where fetched and prepared data sets are kept: SMVAE_CACHE or ~/.cache/smvae."""
    given = os.environ.get(CACHE_VARIABLE, "")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "smvae"


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


def code_sha256(*modules: Any) -> str:
    """Return a digest of the code that prepares samples, and of an adapter's own modules."""
    state = hashlib.sha256()
    for path in [*_preparing_code(), *(Path(m.__file__) for m in modules)]:
        state.update(path.read_bytes())
    return state.hexdigest()


def _preparing_code() -> list[Path]:
    """Return the files that turn raw samples into prepared ones: THE place that names them."""
    own = Path(preprocessing.__file__)
    return [own, *sorted((own.parent / "kinds").glob("*.py"))]


def _open(folder: Path, manifest: Any, names: Sequence[str], total: int) -> Arrays:
    """Return the arrays of a prepared set.

    Raises:
        DataSetError: If it is not whole; says what is wrong.
    """
    what = _MANIFEST
    try:
        if json.loads((folder / _MANIFEST).read_text()) != manifest:
            raise DataSetError(folder, f"{_MANIFEST} is of another set")
        arrays = {}
        for name in names:
            what = f"{name}.npy"
            arrays[name] = np.load(folder / what, mmap_mode="r")
            if len(arrays[name]) != total:
                raise DataSetError(folder, what, expected=f"{total} records", got=len(arrays[name]))
    except (OSError, ValueError, EOFError, TypeError) as err:
        if isinstance(err, DataSetError):
            raise
        gone = isinstance(err, FileNotFoundError)
        raise DataSetError(folder, f"{what} is {'gone' if gone else f'damaged ({err})'}") from err
    return arrays


def _publish(temporary: Path, folder: Path, opened: Callable[[], Arrays]) -> None:
    """Rename `temporary` to `folder`, unless a whole set is there by now: then that one stays."""
    for _ in range(_TRIES):
        try:
            os.rename(temporary, folder)
            return
        except OSError:
            if not os.path.lexists(folder):
                raise
        try:
            opened()
            return
        except DataSetError:
            _discard(folder)


def _discard(path: Path) -> None:
    """Remove a file or folder, out of everyone's sight at once."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return  # another process did
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink()


def _write_arrays(folder: Path, blocks: Iterable[Block], total: int, progress: bool) -> None:
    """Write the blocks one behind the other: on a full disk a memory map ends the process."""
    # Here, since a process that only opens a prepared set has no use for a tenth of a second.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    out: dict[str, Any] = {}
    start = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not progress)
    with naming(folder), bar, ExitStack() as files:
        task = bar.add_task("preparing records", total=total)
        for block in blocks:
            count = len(next(iter(block.values())))
            for name, values in block.items():
                if name not in out:
                    out[name] = files.enter_context((folder / f"{name}.npy").open("wb"))
                    header = npy.header_data_from_array_1_0(values)
                    npy.write_array_header_1_0(
                        out[name], {**header, "shape": (total, *values.shape[1:])}
                    )
                out[name].write(np.ascontiguousarray(values))
            start += count
            bar.advance(task, count)
    assert start == total, f"{start} of {total} records"


def in_order(jobs: Iterable[Callable[[], Block]]) -> Iterator[Block]:
    """Yield the jobs' results in order, done by several threads a few ahead of the reader."""
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
    """Remove sets of the same settings whose files or code have changed since, and damaged ones."""
    for path in folder.parent.glob(f"*/{_MANIFEST}"):
        if path.parent == folder or path.parent.name.startswith("."):
            continue
        try:
            outdated = _settings(json.loads(path.read_text())) == _settings(manifest)
            why = "outdated" if outdated else ""
        except (KeyError, TypeError, AttributeError):
            continue  # of another version's form, and no concern of ours
        except (OSError, ValueError) as err:
            why = f"damaged ({err})"
        if why:
            logger.warning("%s prepared set removed: %s", why, path.parent)
            _discard(path.parent)


def _settings(manifest: Mapping[str, Any]) -> list[Any]:
    """Return what two sets have in common of which the later one replaces the earlier."""
    sensors = [[m["name"], m["shape"], m["source"]] for m in manifest["modalities"]]
    return [sensors, sorted((k, v) for k, v in manifest.items() if k not in _CHANGING)]
