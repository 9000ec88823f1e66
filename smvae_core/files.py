"""Files that are written whole or not at all, and errors that name them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let an error of the system name the file that a user knows.

    On a full disk a write names none, and where the folder is missing it names the temporary one.
    """
    try:
        yield
    except OSError as err:
        if err.errno is not None and err.filename in (None, str(temporary)):
            err.filename = str(path)
        raise


#: How the text begins that stands for a large file until Git LFS fetches it.
_POINTER = b"version https://git-lfs"


def git_lfs(path: Path) -> str:
    """Return what to do where a file is but a pointer of Git LFS, else ''.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        is_pointer = file.read(len(_POINTER)) == _POINTER
    return "it is a pointer of Git LFS: `git lfs pull` fetches the file" if is_pointer else ""


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically: whatever fails, what was there stays, and nothing beside it.

    Libraries give their content as bytes first: what torch, safetensors and HDF5 make of a full
    disk is no OSError, or ends the process.

    Raises:
        OSError: Names the file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with naming(path, temporary):
            temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, see `write_bytes`."""
    write_bytes(path, text.encode())
