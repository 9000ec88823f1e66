"""What was received, through the engine: receive time stands for the steady clock.

A bag evaluator and the builder of episodes drive the engine by this, so that both decide as the
node would have decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from smvae_core.fusion.engine import Engine, Stamps, Taken, Verdict
from smvae_core.recorded_clock import RecordedClock


class Playback:
    """Feeds messages in the order of their receive times, and gives what falls due between them."""

    def __init__(
        self,
        engine: Engine,
        begin_ns: int,
        taken: Callable[[Taken], None],
        clock: RecordedClock | None = None,
    ) -> None:
        """Stand at the beginning.

        Args:
            engine: Fed by nobody else.
            begin_ns: Receive time at which the steady clock is 0.
            taken: Called with everything that a latent is to be made of, in order.
            clock: The node's; None = receive time stands for it too.
        """
        self.engine = engine
        self.clock = clock or RecordedClock()
        self.begin_ns = self.now_ns = begin_ns
        self.now_s = 0.0
        self.late = 0
        """Messages whose receive time lies before their predecessor's."""
        self._taken = taken

    def receive(self, name: str, received_ns: int, message: Any) -> Verdict:
        """Give the engine a message of a modality; call `settle` with the verdict afterwards."""
        return self.engine.receive(name, message, self._pass_to(received_ns))

    def put(self, name: str, received_ns: int, stamp_ns: int, value: Any, clock_ns: int) -> Verdict:
        """Give the engine what was read of a message, as `receive`; `clock_ns` is the node's."""
        times = self._pass_to(received_ns)._replace(clock_ns=clock_ns)
        return self.engine.put(name, stamp_ns, value, times)

    def tick(self, received_ns: int, message: Any) -> float:
        """Take a message of the clock; return how far that jumped [s], 0 = it just went on.

        As in the node, a jump drops everything.
        """
        self._pass_to(received_ns)
        jump_s = self.clock.tick(message)
        if jump_s:
            self.engine.flush()
        return jump_s

    def refuse(self, name: str, received_ns: int, reason: str, text: str) -> None:
        """Count a message of a modality that cannot even be read."""
        self.engine.drop(name, 0, self._pass_to(received_ns).now_s, reason, text)

    def settle(self, verdict: Verdict) -> None:
        """Take what the message of a verdict completed."""
        if verdict.wakes and self.engine.collecting:
            self._taken(self.engine.take(self.now_s))

    def finish(self) -> None:
        """Take what is due when nothing more comes."""
        self._pass(math.inf)

    def seconds(self, received_ns: int) -> float:
        """Return a receive time as the steady clock."""
        return (received_ns - self.begin_ns) * 1e-9

    def _pass_to(self, received_ns: int) -> Stamps:
        self.late += received_ns < self.now_ns
        self.now_ns = max(self.now_ns, received_ns)
        until_s = self.seconds(self.now_ns)
        self._pass(until_s)
        self.now_s = until_s
        return Stamps(until_s, self.clock.at(self.now_ns))

    def _pass(self, until_s: float) -> None:
        for taken in self.engine.pass_time(self.now_s, until_s):
            self._taken(taken)
