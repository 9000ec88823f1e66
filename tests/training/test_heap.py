"""A training keeps its memory from step to step; the user's own settings win."""

from __future__ import annotations

import subprocess
import sys

import pytest

from smvae_training.heap import VARIABLES, keep_memory

#: Frees 24 blocks of 4 MB and takes them again; prints the new pages of the second time.
PROGRAM = """
import ctypes, resource, sys
from smvae_training.heap import keep_memory
print(keep_memory()) if sys.argv[1] == "keep" else None
c = ctypes.CDLL(None)
c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def step():
    blocks = [c.malloc(4 << 20) for _ in range(24)]
    for b in blocks:
        ctypes.memset(b, 1, 4 << 20)
    for b in blocks:
        c.free(b)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(how: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.skipif(not keep_memory(), reason="another C library, or settings of the user")
def test_what_was_freed_is_there_again_without_new_pages() -> None:
    kept, pages = new_pages("keep")
    assert kept == "True"
    assert int(pages) < 100
    assert int(new_pages("leave")[-1]) > 1000


@pytest.mark.parametrize("name", VARIABLES)
def test_the_users_own_settings_win(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_memory()
