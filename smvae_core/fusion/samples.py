"""The newest samples of one modality by stamp, and the readings that its windows are made of."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Stamps (N,) and values of what a sample is made of, and the same of a window as an array.
Readings = tuple[NDArray[np.int64], list[Any]]
Window = tuple[NDArray[np.int64], NDArray[Any]]

_stamp = attrgetter("stamp_ns")


class Sample(NamedTuple):
    """One message's value (of a force window: one reading (C,))."""

    stamp_ns: int
    value: Any
    arrival_s: float


class Samples(deque[Sample]):
    """At most so many, oldest first; where a window is the sample, each is one of its readings."""

    def __init__(self, kept: int, window_s: float | None) -> None:
        """Start empty.

        Args:
            kept: At most so many.
            window_s: Length of the window that ends with each; None = each is a sample by itself.
        """
        super().__init__(maxlen=kept)
        self._window_ns = None if window_s is None else round(window_s * 1e9)

    def place(self, stamp_ns: int) -> int:
        """Return where a message with this stamp is kept, or would be."""
        return bisect_left(self, stamp_ns, key=_stamp)

    def after(self, stamp_ns: int) -> int:
        """Return where those begin that are newer."""
        if self and self[-1].stamp_ns <= stamp_ns:
            return len(self)
        return bisect_right(self, stamp_ns, key=_stamp)

    def has(self, stamp_ns: int) -> bool:
        """Return whether a message with this stamp is kept."""
        index = self.place(stamp_ns)
        return index < len(self) and self[index].stamp_ns == stamp_ns

    def put(self, sample: Sample) -> None:
        """Keep a sample where it belongs; of too many the oldest goes, which may be this one."""
        if not self or self[-1].stamp_ns < sample.stamp_ns:
            self.append(sample)
            return
        index = self.place(sample.stamp_ns)
        if len(self) == self.maxlen:
            if not index:
                return
            self.popleft()
            index -= 1
        self.insert(index, sample)

    def take_back(self, stamp_ns: int) -> bool:
        """Forget the message with this stamp; return whether it was kept."""
        found = self.has(stamp_ns)
        if found:
            del self[self.place(stamp_ns)]
        return found

    def readings(self, index: int) -> Readings:
        """Return what the sample at `index` is made of."""
        first = index if self._window_ns is None else self._first(self[index].stamp_ns)
        kept = [self[i] for i in range(first, index + 1)]
        return np.array([s.stamp_ns for s in kept], np.int64), [s.value for s in kept]

    def windows(self, ends: Sequence[Sample]) -> list[Window]:
        """Return what the windows are made of that end with these readings, in order."""
        if not ends:
            return []
        first = self._first(ends[0].stamp_ns)
        kept = [self[i] for i in range(first, self.place(ends[-1].stamp_ns) + 1)]
        stamps_ns = np.array([s.stamp_ns for s in kept], np.int64)
        values = np.asarray([s.value for s in kept])
        found = []
        for end in ends:
            last = int(np.searchsorted(stamps_ns, end.stamp_ns)) + 1
            start = self._first(end.stamp_ns) - first
            found.append((stamps_ns[start:last], values[start:last]))
        return found

    def _first(self, end_ns: int) -> int:
        """Return where the window begins that ends with a stamp: at or before its first row."""
        assert self._window_ns is not None
        return max(0, self.after(end_ns - self._window_ns) - 1)
