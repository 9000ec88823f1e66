"""How a program in the foreground ends: an exit status, and one line where something was wrong.

What it needs is imported within `run`, so that Ctrl-C is heard from its first moments on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path

from smvae_core.errors import SMVAEError

#: What asks for less.
LESS_MEMORY = "a smaller batch, a smaller model or fewer records at once need less"
WORKER_KILLED = "one of its processes was killed; if memory ended, fewer at once need less"
#: Exit statuses: bad input; stopped by Ctrl-C, and nobody reads on, as shells report them.
BAD_INPUT, INTERRUPTED, UNREAD = 2, 130, 141


def run(prog: str, work: Callable[[], int]) -> int:
    """Do the work and return its exit status, or that of what stopped it.

    Args:
        prog: Name for the line, e.g. 'smvae train'.
        work: () -> exit status.

    Raises:
        BrokenPipeError: If nobody reads on.
    """
    try:
        return work()
    except SMVAEError as err:
        if _is_of_ctrl_c(err):
            print(f"{prog}: stopped", file=sys.stderr)
            return INTERRUPTED
        print(f"{prog}: error: {' '.join(str(err).split())}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        raise
    except OSError as err:
        print(f"{prog}: error: {of_the_system(err)}", file=sys.stderr)
        return BAD_INPUT
    except (MemoryError, RuntimeError) as err:
        if was_killed(err):
            print(f"{prog}: error: {WORKER_KILLED}: {' '.join(str(err).split())}", file=sys.stderr)
            return BAD_INPUT
        if not is_out_of_memory(err):
            raise
        what = " ".join(str(err).split()) or "no more is there"
        print(f"{prog}: error: out of memory, {LESS_MEMORY}: {what}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as stop:
        print(f"{prog}: stopped{f'; {stop}' if str(stop) else ''}", file=sys.stderr)
        return INTERRUPTED


def is_out_of_memory(err: BaseException) -> bool:
    """Return whether memory was refused: torch says so of a CPU by a RuntimeError alone."""
    words = str(err)
    return isinstance(err, MemoryError) or "out of memory" in words or "allocate memory" in words


def was_killed(err: BaseException) -> bool:
    """Return whether a process that works for this one ended by a signal, or by itself."""
    return isinstance(err, BrokenExecutor) or str(err).startswith("DataLoader worker (pid")


def _is_of_ctrl_c(err: BaseException | None) -> bool:
    """Return whether an error began as Ctrl-C: a library that is imported meanwhile fails by it."""
    while err is not None:
        if isinstance(err, KeyboardInterrupt):
            return True
        err = err.__cause__ or err.__context__
    return False


def of_the_system(err: OSError) -> str:
    """Return in one line what the system refused, e.g. 'No space left on device: run/last.tmp'."""
    what = " ".join((err.strerror or str(err) or type(err).__name__).split())
    place = err.filename2 or err.filename
    return f"{what}: {place}{_of_a_link(Path(os.fsdecode(place)))}" if place else what


def _of_a_link(place: Path) -> str:
    """Return what to say where a path, or a folder that it lies in, is a link to nothing."""
    for path in (place, *place.parents):
        if path.is_symlink() and not path.exists():
            called = "it" if path == place else str(path)
            target = path.parent / path.readlink()
            what = f"{called} is a link to nothing: there is no {target}"
            return f"; {what}. Make that, or remove the link"
    return ""
