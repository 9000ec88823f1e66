"""Files that are written whole or not at all, and errors that name them."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
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


@contextmanager
def alone_in(folder: Path, error: Callable[[str], Exception]) -> Iterator[None]:
    """Be the only process that works in a folder; it ends with the process, whatever ends that.

    Args:
        folder: There already.
        error: Makes of a text the exception that is raised where another works in it.

    Raises:
        OSError: If the folder cannot be opened.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise error(
                "another process writes to it: wait for that, or give another --out"
            ) from err
        except OSError as err:
            if err.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL):
                raise  # else a file system without locks
        yield
    finally:
        os.close(handle)


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
