"""A trainer's own loop that goes on for one turn's steps at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode


class Paced:
    """Runs a trainer in a thread and holds it after each turn's steps.

    So that a turn is steps in the middle of a run, without its start and its end. The operations
    of the first turn are counted, which slows it down: it should not be one that counts.
    """

    def __init__(self, train: Callable[[Callable[[], None]], None], steps: int) -> None:
        """Start nothing yet.

        Args:
            train: Trains without end; calls what it is given after each step.
            steps: Of a turn.
        """
        self._train, self._steps = train, steps
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._left = 0
        self._failed: BaseException | None = None
        self._counter: FlopCounterMode | None = None
        self._begun = False
        self.gflop = 0.0
        """Operations of a step, the mean over the first turn; a product and a sum are two."""

    def turn(self) -> None:
        """Take a turn's steps.

        Raises:
            RuntimeError: If the trainer ended.
        """
        first = not self._begun
        if first:
            self._begun = True
            threading.Thread(target=self._run, daemon=True).start()
        self._go.release()
        self._done.acquire()
        if self._failed is not None:
            raise RuntimeError("the trainer ended") from self._failed

    def _run(self) -> None:
        try:
            self._train(self._stepped)
            raise RuntimeError("it took all of its steps")
        except BaseException as err:  # told to whoever waits for the turn
            self._failed = err
            self._done.release()

    def _stepped(self) -> None:
        """Count a step; the one that starts up belongs to no turn."""
        self._left -= 1
        if self._left > 0:
            return
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self.gflop = self._counter.get_total_flops() / self._steps / 1e9
            self._counter = None
        if self._left == 0:
            self._done.release()
        self._go.acquire()
        self._left = self._steps
        if not self.gflop:
            self._counter = FlopCounterMode(display=False)
            self._counter.__enter__()
