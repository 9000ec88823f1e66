"""How worker processes begin: Ctrl-C is their parent's, and they end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes that begin in the body never hear Ctrl-C, not even while they import.

    Their parent hears it after the body, and ends them: one that dies while it begins a worker
    leaves that with half of what it is told. Blocking is not enough for the parent, since its other
    threads hear the signal and its main thread acts on it.
    """
    resource_tracker.ensure_running()  # as it starts it unblocks SIGINT, whatever was before
    heard: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    acts = signal.signal(signal.SIGINT, lambda number, _: heard.append(number)) if main else None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if acts is None else acts)
        if heard:
            signal.raise_signal(signal.SIGINT)


def follow_the_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it does: a killed one leaves no worker behind.

    A pool ends its workers by SIGTERM and waits for them. A parent that ignores it hands that on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
