"""A thread that does one thing again and again, and how it is found to hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Steps:
    """Runs a function until it is stopped; the work in it is watched."""

    def __init__(
        self, name: str, once: Callable[[], None], *, wake: Callable[[], None] = lambda: None
    ) -> None:
        """Prepare; `start` runs the thread.

        Args:
            name: Of the thread, for people.
            once: Called again and again; what may hang in it stands below `work`.
            wake: Ends its waiting, from another thread.
        """
        self.name = name
        self._once, self._wake = once, wake
        self._stop = threading.Event()
        self._began_s: float | None = None
        self._overdue_s: float | None = None
        self._hangs = False
        self.thread: threading.Thread | None = None
        self.failure = ""
        """Why it ended, or was given up; '' = neither."""

    @property
    def alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stop.is_set()

    @contextmanager
    def work(self) -> Iterator[float]:
        """Watch what is done below it; yields the steady time at which it began."""
        self._began_s = began_s = time.monotonic()
        try:
            yield began_s
        finally:
            self._began_s = None

    def check(self, longest_s: float) -> str:
        """Return why it does no more, '' = it goes on; called again and again.

        Work counts as hung when it is found too long twice: a process that was stopped as a whole
        finds it too long only once.
        """
        if self.failure or not self.alive:
            return self.failure or f"the {self.name} thread does not run"
        began_s = self._began_s
        late = began_s is not None and time.monotonic() - began_s > longest_s
        self._hangs = late and began_s == self._overdue_s
        self._overdue_s = began_s if late else None
        if self._hangs:
            self.failure = f"hangs: one run lasts longer than {longest_s:.3g} s"
        return self.failure

    def start(self) -> None:
        """Start the thread."""
        self._stop.clear()
        self._began_s = self._overdue_s = None
        self._hangs, self.failure = False, ""
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.thread.start()

    def tell_to_stop(self) -> None:
        """Ask it to end; `join` waits until it did."""
        self._stop.set()
        self._wake()

    def join(self, timeout_s: float) -> bool:
        """Wait until it ended, not at all where it hangs; return whether it did in time."""
        if self.thread is None:
            return True
        self.thread.join(0.0 if self._hangs else timeout_s)
        ended = not self.thread.is_alive()
        if ended:
            self.thread = None
        return ended

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._once()
        except BaseException as err:  # noted here, shown and acted on by the node's watchdog
            if not self.failure:
                self.failure = f"stopped: {type(err).__name__}: {err}"
