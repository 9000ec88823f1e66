"""Whether it is time to say something again, each thing by itself.

rclpy's `throttle_duration_sec` counts a line of code, and so holds back what the same line would
say of another sensor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Rarely:
    """Lets each thing be said once in a while."""

    def __init__(
        self, period_s: float = 5.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with nothing said.

        Args:
            period_s: The same is said again no sooner than after this long.
            clock: Steady time [s].
        """
        self._period_s, self._clock = period_s, clock
        self._said_s: dict[str, float] = {}

    def __call__(self, what: str) -> bool:
        """Return whether to say it now; then it counts as said."""
        now_s = self._clock()
        if now_s - self._said_s.get(what, -math.inf) < self._period_s:
            return False
        self._said_s[what] = now_s
        return True
