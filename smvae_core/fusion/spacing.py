"""Which samples of one sensor count for memory besides those that are fused into a moment."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

#: At most what so long a time holds counts from one moment to the next [s], the newest.
SPAN_S = 0.25
#: Nothing is told that is older than the newest by this [ns].
_KEPT_NS = 2_000_000_000


def most_at_once(spacing_s: float) -> int:
    """Return how many samples that count so far apart are chosen at once, at most."""
    return max(1, round(SPAN_S / spacing_s))


class Spacing:
    """Notes what memory was told of, and chooses what it is told next."""

    def __init__(self, spacing_s: float) -> None:
        """Start empty.

        Args:
            spacing_s: How far apart they count, see `Kind.spacing_s`.
        """
        self._spacing_ns = round(spacing_s * 1e9)
        self.most = most_at_once(spacing_s)
        """At most so many are chosen at once."""
        self._told_ns: list[int] = []
        self.left_out = 0
        """Samples that would have counted, had they not been more than that."""

    @property
    def last_ns(self) -> int | None:
        """Newest stamp that memory was told of; None = of none."""
        return self._told_ns[-1] if self._told_ns else None

    def between(self, first_ns: int, last_ns: int) -> bool:
        """Return whether another sample can count between two that do."""
        return last_ns - first_ns >= 2 * self._spacing_ns

    def forget(self) -> None:
        """Begin anew; the count stays."""
        self._told_ns.clear()

    def choose(
        self, stamps_ns: Sequence[int], fused_ns: int | None, most: int | None = None
    ) -> list[int]:
        """Return the indices of samples that count from this moment on, each once, in order.

        Args:
            stamps_ns: Of samples that came since the last moment, oldest first.
            fused_ns: Of the one that is fused, which counts as it is; None = none is.
            most: At most so many; None = `most_at_once`.
        """
        told_ns, index = self._told_ns, len(stamps_ns) - 1
        if fused_ns is not None:
            at = bisect_left(told_ns, fused_ns)
            if told_ns[at : at + 1] != [fused_ns]:
                told_ns.insert(at, fused_ns)
        chosen: list[int] = []
        most = self.most if most is None else most
        while index >= 0:
            stamp_ns = stamps_ns[index]
            at = bisect_left(told_ns, stamp_ns)
            near = [t for t in told_ns[max(0, at - 1) : at + 1] if self._near(stamp_ns, t)]
            if near:  # go on where those of this one end
                before_ns = min(near) - self._spacing_ns
                index = bisect_right(stamps_ns, before_ns, 0, index) - 1
                continue
            if len(chosen) < most:
                told_ns.insert(at, stamp_ns)
                chosen.append(index)
            else:
                self.left_out += 1
            index -= 1
        if told_ns:
            del told_ns[: bisect_left(told_ns, told_ns[-1] - _KEPT_NS)]
        return chosen[::-1]

    def _near(self, stamp_ns: int, told_ns: int) -> bool:
        return abs(stamp_ns - told_ns) < self._spacing_ns
