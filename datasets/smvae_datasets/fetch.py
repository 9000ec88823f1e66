"""Download one large file over http(s) with resume; used by `smvae download`."""

from __future__ import annotations

import http.client
import json
import logging
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smvae_core.errors import SMVAEError
from smvae_core.files import write_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20


class DownloadError(SMVAEError, OSError):
    """A download that failed; names the address or file, what happened and what to do."""


def fetch(url: str, target: Path, *, progress: bool = True, timeout_s: float = 30.0) -> Path:
    """Download `url` to `target` with `.part` appended and return that path, complete.

    A connection that is lost after some data is taken up again at once; one that gives nothing
    ends with an error, and the next call resumes. The server's ETag (or date) guards against a
    file that changed in between: it is then downloaded from the start.

    Raises:
        DownloadError: If the file could not be completed.
    """
    part = target.with_name(target.name + ".part")
    with _progress_bar(target.name, progress) as bar:
        while True:
            before = _size(part)
            reason: object = "closed early"
            try:
                total = _transfer(url, part, resume_record(target), bar, timeout_s)
                if total is None or _size(part) == total:
                    return part
            except DownloadError:
                raise
            except urllib.error.HTTPError as err:
                raise DownloadError(_refused(url, part, err)) from err
            except (OSError, http.client.HTTPException) as err:
                reason = err.reason if isinstance(err, urllib.error.URLError) else err
            if _size(part) <= before:
                raise DownloadError(_unreachable(url, part, reason))
            logger.warning("%s: connection lost (%s), resuming", url, reason)


def resume_record(target: Path) -> Path:
    """Return the path where the address, version and size of a partial download are kept."""
    return target.with_name(target.name + ".part.json")


def check_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Check that the disk can take `needed_bytes` more.

    Raises:
        DownloadError: If it cannot.
    """
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise DownloadError(
            f"no space to {purpose}: {folder} has {free / 1e9:.1f} GB free, "
            f"expected at least {needed_bytes / 1e9:.1f} GB"
        )


class _Bar:
    """Progress of one file, told in bytes."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def set(self, completed: int, total: int | None) -> None:
        self._progress.update(self._task, completed=completed, total=total)

    def advance(self, count: int) -> None:
        self._progress.advance(self._task, count)


@contextmanager
def _progress_bar(name: str, show: bool) -> Iterator[_Bar]:
    from rich.console import Console  # see cache.py
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    timing = (TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, *timing, console=console, disable=not show, transient=True) as progress:
        yield _Bar(progress, progress.add_task(name, total=None))


def _transfer(url: str, part: Path, record: Path, bar: _Bar, timeout_s: float) -> int | None:
    """Append what is missing to `part`; return the file's whole size if the server tells it."""
    start = _size(part)
    known: dict[str, Any] = json.loads(record.read_text()) if start and record.is_file() else {}
    if known.get("url") != url or known["total"] is None:
        start, known = 0, {}  # the part is not known to come from here, or has no known end
    if start and start == known["total"]:
        return start
    headers = {"User-Agent": "smvae", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if known.get("validator"):
            headers["If-Range"] = known["validator"]
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        length = response.headers["Content-Length"]
        if response.status != 206:
            start = 0  # no resume on this server, or the file has changed
        total = start + int(length) if length is not None else None
        content_range = response.headers["Content-Range"] or ""
        if start and content_range != f"bytes {start}-{known['total'] - 1}/{known['total']}":
            expected = f"bytes {start} to the end of {known['total']}"
            hint = f"delete {part} to start again"
            raise DownloadError(f"{url}: expected {expected}, got '{content_range}'; {hint}")
        check_space(part.parent, (total or 0) - start, "download")
        validator = response.headers["ETag"] or response.headers["Last-Modified"]
        if validator is not None and validator.startswith("W/"):
            validator = response.headers["Last-Modified"]  # a weak ETag may not guard a range
        bar.set(start, total)
        _receive(
            response, part, start, bar, record, {"url": url, "validator": validator, "total": total}
        )
    return total


def _receive(
    response: Any, part: Path, start: int, bar: _Bar, record: Path, known: dict[str, Any]
) -> None:
    """Write the response's bytes into `part` from `start` on, after recording what they are of."""
    try:
        out = part.open("r+b" if start else "wb")
        write_text(record, json.dumps(known))
    except OSError as err:
        raise DownloadError(f"{part}: cannot write ({err})") from err
    with out:
        out.seek(start)
        while block := response.read(_BLOCK_BYTES):
            try:
                out.write(block)
            except OSError as err:
                raise DownloadError(f"{part}: cannot write ({err}); run again to resume") from err
            bar.advance(len(block))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _refused(url: str, part: Path, err: urllib.error.HTTPError) -> str:
    if err.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return f"{url}: cannot resume, {part} is not a part of it: delete it to start again"
    return f"{url}: expected the file, the server says {err.code} {err.reason}"


def _unreachable(url: str, part: Path, reason: object) -> str:
    kept = _size(part)
    resume = f"; {kept} bytes are kept, run again to resume" if kept else ""
    return f"{url}: no connection ({reason}): expected a server that answers{resume}"
