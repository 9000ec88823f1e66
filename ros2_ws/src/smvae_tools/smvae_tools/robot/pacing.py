"""Real time for a simulation: simulated moments are deadlines on the steady clock. No ROS."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Behind by more than this, the simulation gives up the lost time instead of rushing after it.
MAX_LAG_NS = 100_000_000


class DeadlineClock:
    """Maps simulated time to the steady clock (to wait) and to the system clock (to stamp).

    Falling behind by less than `MAX_LAG_NS` is caught up without waiting, stamps staying on their
    grid. Beyond that the clock slips: simulated time goes on from now, and `slipped_ns` grows.
    """

    def __init__(
        self,
        steady_ns: Callable[[], int] = time.monotonic_ns,
        system_ns: Callable[[], int] = time.time_ns,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        """Start at simulated time zero, now.

        Args:
            steady_ns: Clock of the deadlines.
            system_ns: Clock of the stamps.
            pause: Waits for a number of seconds; may return early (then `wait_until` returns too).
        """
        self._steady_ns, self._system_ns, self._pause = steady_ns, system_ns, pause
        self.slipped_ns = 0
        self.restart()

    def restart(self) -> None:
        """Make now simulated time zero."""
        self._steady_zero, self._system_zero = self._steady_ns(), self._system_ns()

    def stamp_ns(self, simulated_ns: int) -> int:
        """Return the system time at which the simulated moment lies."""
        return self._system_zero + simulated_ns

    def wait_until(self, simulated_ns: int) -> int:
        """Wait for a simulated moment; slip if it is long past.

        Returns:
            How far the clock slipped [ns]; 0 as a rule.
        """
        late = self._steady_ns() - self._steady_zero - simulated_ns
        if late < 0:
            self._pause(-late * 1e-9)
            return 0
        if late <= MAX_LAG_NS:
            return 0
        self._steady_zero += late
        self._system_zero += late
        self.slipped_ns += late
        return late
