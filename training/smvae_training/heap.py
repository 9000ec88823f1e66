"""Freed memory that a training keeps, so that the next step need not ask the system for it again.

glibc hands blocks of some MB back when they are freed, and the next step gets other, empty pages
for its activations and gradients. Whether it does depends on how the blocks happen to lie: of equal
runs one met 10 new pages a step, another 6,000. Whatever the user's environment says wins.
"""

from __future__ import annotations

import ctypes
import os

#: Options of glibc's mallopt: blocks up to this size come from the heap, and so much free memory at
#: the heap's end is kept [bytes].
OPTIONS = {-3: 2**30, -1: 2**31 - 1}
#: Variables by which a user sets them, or another allocator.
VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_memory() -> bool:
    """Keep freed memory in this process from now on; return whether that was possible.

    Its peak stays what it is. It is not, where the C library is none of GNU's, or where the user
    said something else.
    """
    if any(os.environ.get(name) for name in VARIABLES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    return mallopt is not None and all(mallopt(*option) == 1 for option in OPTIONS.items())
