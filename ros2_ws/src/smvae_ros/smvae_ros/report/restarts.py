"""Whether time begins again more often than a bag that loops makes it."""

from __future__ import annotations

from collections import deque

#: Counted over so long [s].
SPAN_S = 5.0
#: So many within it are no loop: something publishes beside something else.
OFTEN = 4


class Restarts:
    """Times at which one source of time began again, lately."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=1000)

    def often(self, now_s: float) -> int:
        """Note one more; return how many there were lately if that is often, else 0.

        Args:
            now_s: Steady clock.
        """
        self._times_s.append(now_s)
        while self._times_s[0] < now_s - SPAN_S:
            self._times_s.popleft()
        times = len(self._times_s)
        return times if times >= OFTEN else 0
