"""Which samples of one sensor count for memory besides those that are fused into a moment."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

#: At most what so long a time holds counts from one moment to the next [s], the newest.
SPAN_S = 0.25
#: Nothing is told that is older than the newest by this [ns].
_KEPT_NS = 2_000_000_000


class Spacing:
    """Notes what memory was told of, and chooses what it is told next."""

    def __init__(self, spacing_s: float) -> None:
        """Start empty.

        Args:
            spacing_s: How far apart they count, see `Kind.spacing_s`.
        """
        self._spacing_ns = round(spacing_s * 1e9)
        self.most = round(SPAN_S / spacing_s)
        """At most so many are chosen at once."""
        self._told_ns: list[int] = []
        self.left_out = 0
        """Samples that would have counted, had they not been more than that."""

    @property
    def last_ns(self) -> int | None:
        """Newest stamp that memory was told of; None = of none."""
        return self._told_ns[-1] if self._told_ns else None

    def forget(self) -> None:
        """Begin anew; the count stays."""
        self._told_ns.clear()

    def choose(self, stamps_ns: Sequence[int], fused_ns: int | None) -> list[int]:
        """Return the indices of samples that count from this moment on, each once, in order.

        Args:
            stamps_ns: Of samples that came since the last moment, oldest first.
            fused_ns: Of the one that is fused, which counts as it is; None = none is.
        """
        if fused_ns is not None and not self._told(fused_ns, 1):
            insort(self._told_ns, fused_ns)
        chosen: list[int] = []
        for index in range(len(stamps_ns) - 1, -1, -1):
            if self._told(stamps_ns[index], self._spacing_ns):
                continue
            if len(chosen) == self.most:
                self.left_out += 1
                continue
            insort(self._told_ns, stamps_ns[index])
            chosen.append(index)
        if self._told_ns:
            del self._told_ns[: bisect_left(self._told_ns, self._told_ns[-1] - _KEPT_NS)]
        return chosen[::-1]

    def _told(self, stamp_ns: int, within_ns: int) -> bool:
        """Return whether memory knows of a sample nearer than this."""
        index = bisect_left(self._told_ns, stamp_ns)
        near = self._told_ns[max(0, index - 1) : index + 1]
        return any(abs(stamp_ns - told) < within_ns for told in near)
