"""Where a program begins: one that is told to end while Python still loads it ends at once.

Loading takes seconds on a slow machine. SIGINT would leave a stack trace meanwhile, and launch
would report a crash.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def program(module: str) -> Callable[[], int]:
    """Return what starts the program of a module that runs until it is told to end.

    Args:
        module: Its name; its `main` takes the signals over.
    """

    def start() -> int:
        for number in SIGNALS:
            signal.signal(number, _leave)
        return int(importlib.import_module(module).main())

    return start


def _leave(*_: object) -> None:
    """End the process: nothing is begun that would have to be undone."""
    os._exit(0)
