"""SQLite's log beside a .db3 file: a recording that was not closed has its newest messages there.

The log is merged into a copy, so that nothing in the folder of the recording is changed.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from smvae_core.errors import one_line

#: Ends of the names of logs: what is not yet in the file, and what must be taken back from it.
_LOGS = ("-wal", "-journal")


def merged(path: Path, folder: Callable[[], Path], forgive: Callable[[str], None] | None) -> Path:
    """Return a .db3 file that holds what its log does: itself, or a copy where it has a log.

    Args:
        path: Of the file.
        folder: Makes a folder for the copy.
        forgive: Told in one line what was found; None = a log that cannot be read is an error.

    Raises:
        OSError: If there is no room for the copy, and nobody forgives.
        sqlite3.Error: If file and log cannot be merged, and nobody forgives.
    """
    logs = [log for end in _LOGS if _size(log := path.with_name(path.name + end))]
    if not logs:
        return path
    said = f"{path.name} was not closed: {logs[0].name} beside it"
    copy = folder() / path.name
    try:
        for each in (path, *logs):
            shutil.copyfile(each, copy.with_name(each.name))
        with closing(sqlite3.connect(copy)) as base:
            base.execute("PRAGMA journal_mode = DELETE").fetchone()
            base.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except (OSError, sqlite3.Error) as err:
        if forgive is None:
            raise
        forgive(f"{said} cannot be merged: {one_line(err)}; read without its newest messages")
        return path
    if forgive is not None:
        forgive(f"{said} is read with it")
    return copy


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
