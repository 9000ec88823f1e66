"""How often the samples of one modality come, measured between stamps and between arrivals."""

from __future__ import annotations

from collections import deque

from smvae_core.fusion.rules import limits

#: A gap as long as this is never taken for a period.
LONGEST_PERIOD_S = 10.0

_GAPS_KEPT = 20


class Rhythm:
    """Median gaps, without silences."""

    def __init__(self, span_s: float) -> None:
        """Start without any.

        Args:
            span_s: What one sample covers.
        """
        self._span_s = span_s
        self.period_s: float | None = None
        """Median time between stamps; None until four samples came."""
        self.arrival_period_s: float | None = None
        """Median time between arrivals on the steady clock: a bag may be played slowly."""
        self.max_skew_s = 0.0
        """How far from a moment a sample of it may be stamped, by the measured period."""
        self.max_age_s = 0.0
        """After how long without a message it is lost, by the longer of the measured periods."""
        self._measured(None, None)
        self._stamp_gaps_s: deque[float] = deque(maxlen=_GAPS_KEPT)
        self._arrival_gaps_s: deque[float] = deque(maxlen=_GAPS_KEPT)
        self._after_silence = False

    def _measured(self, period_s: float | None, arrival_period_s: float | None) -> None:
        """Note the periods, and what follows from them: it is asked for more than once a latent."""
        self.period_s, self.arrival_period_s = period_s, arrival_period_s
        self.max_skew_s = limits(period_s, self._span_s)[0]
        periods = [p for p in (period_s, arrival_period_s) if p is not None]
        self.max_age_s = limits(max(periods, default=None), self._span_s)[1]

    def add(self, stamp_gap_s: float, arrival_gap_s: float) -> None:
        """Take a gap for a period, but not a silence; two silences in a row are a slower source."""
        longest = max(stamp_gap_s, arrival_gap_s)
        measured = self.period_s is not None
        silence = longest > (self.max_age_s if measured else LONGEST_PERIOD_S)
        if silence and self._after_silence:
            self._stamp_gaps_s.clear()
            self._arrival_gaps_s.clear()
            silence = longest > LONGEST_PERIOD_S
        if not silence:
            self._stamp_gaps_s.append(stamp_gap_s)
            self._arrival_gaps_s.append(arrival_gap_s)
        self._measured(_median(self._stamp_gaps_s), _median(self._arrival_gaps_s))
        self._after_silence = silence

    def expects(self, quiet_s: float, within_s: float) -> bool:
        """Return whether a message may be expected within a time, or was lately missed.

        Args:
            quiet_s: Since the newest one arrived.
            within_s: The time.
        """
        if self.period_s is None or self.arrival_period_s is None:
            return False
        soon_s = max(self.period_s, self.arrival_period_s) - within_s
        return soon_s <= quiet_s <= self.max_age_s

    def forget(self) -> None:
        """Measure anew (time jumped)."""
        self._stamp_gaps_s.clear()
        self._arrival_gaps_s.clear()
        self._measured(None, None)
        self._after_silence = False


def _median(gaps_s: deque[float]) -> float | None:
    """Return the median (of an even number the upper one), None of less than three.

    Once per reading, where numpy's would take longer than all the rest.
    """
    return sorted(gaps_s)[len(gaps_s) // 2] if len(gaps_s) >= 3 else None
