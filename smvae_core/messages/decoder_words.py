"""What libjpeg and libpng print of an image, counted instead of one line per image.

They write to the process's standard error themselves, in C, at a camera's rate. While an image is
decoded that output goes to a file in memory; what somebody else wrote meanwhile is passed on.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

logger = logging.getLogger(__name__)

_STDERR = 2
#: How the lines of the two libraries begin; the rest of the output is not theirs.
_THEIRS = re.compile(
    r"Corrupt JPEG data|Premature end of JPEG|Invalid SOS|Inconsistent progression|"
    r"Warning: unknown JFIF|Unknown Adobe|libpng (warning|error)"
)
_lock = threading.Lock()
#: (modality, line without its numbers) -> images.
counts: Counter[tuple[str, str]] = Counter()


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Keep the decoders' lines off standard error in the body, and count them.

    The first image of a kind of line is logged, then the tenth, the hundredth and so on.

    Args:
        name: Modality that is decoded.
    """
    with _lock:
        try:
            original = os.dup(_STDERR)
        except OSError:  # no standard error that could be flooded
            yield
            return
        file = _memory()
        os.dup2(file, _STDERR)
        try:
            yield
        finally:
            os.dup2(original, _STDERR)
            written = _taken(file)
            if written:
                _sort(name, written, original)
            os.close(original)


@lru_cache(maxsize=1)
def _memory() -> int:
    """Return the file that stands in for standard error."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _taken(file: int) -> bytes:
    """Return what was written since the last time, and forget it."""
    length = os.lseek(file, 0, os.SEEK_CUR)
    if not length:
        return b""
    os.lseek(file, 0, os.SEEK_SET)
    data = os.read(file, length)
    os.lseek(file, 0, os.SEEK_SET)
    os.ftruncate(file, 0)
    return data


def _sort(name: str, written: bytes, original: int) -> None:
    """Count the decoders' lines, one per kind and image, and pass the others on."""
    kinds: dict[str, str] = {}
    for line in written.splitlines(keepends=True):
        text = line.decode("utf-8", "replace").strip()
        if _THEIRS.match(text):
            kinds.setdefault(re.sub(r"\d+|0x[0-9a-f]+", "N", text), text)
        else:
            os.write(original, line)
    for kind, text in kinds.items():
        counts[name, kind] += 1
        number = counts[name, kind]
        if str(number).strip("0") == "1":
            logger.warning("%s: the decoder says '%s' (image %d of this kind)", name, text, number)
