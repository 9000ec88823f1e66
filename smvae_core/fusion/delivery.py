"""How the messages of one modality are stamped when they arrive, beside others and the clock."""

from __future__ import annotations

import math
from collections import deque

from smvae_core.fusion.clocks import LONGEST_LAG_S, Doubt

#: How far stamps lie ahead of the clock is measured so often; it does not change by the message.
LEAD_PERIOD_S = 0.02

_LAGS_KEPT = 20
_LEADS_KEPT = 20


class Delivery:
    """Lag behind the moment, and lead over the clock."""

    def __init__(self) -> None:
        self.lag_s = 0.0
        """How far behind the moment messages are stamped when they arrive: nine in ten, at most."""
        self.lead_s: float | None = None
        """Corrected stamp minus the stamps' clock at arrival, median; None = not measured."""
        self.lead_taken_s = -math.inf
        """When `lead_s` was measured last."""
        self.doubt: Doubt | None = None
        """What is wrong with its stamps beside those of others."""
        self.granted_s = 0.0
        """How far beyond LONGEST_LAG_S it may lag: clocks differ, and nobody knows whose is
        wrong."""
        self._lags_s: deque[float] = deque(maxlen=_LAGS_KEPT)
        self._leads_s: deque[float] = deque(maxlen=_LEADS_KEPT)

    @property
    def left_out(self) -> bool:
        """Whether the clock is so wrong that nothing is made of the samples."""
        return self.doubt is not None and self.doubt.left_out

    def measure(
        self, corrected_ns: int, now_s: float, moment_ns: int | None, clock_ns: int
    ) -> None:
        """Measure one more message.

        Args:
            corrected_ns: When its sample happened.
            now_s: Steady clock.
            moment_ns: What a latent would be made of without it; None = of nothing. The lag is
                among stamps alone, so that hosts whose clocks differ are measured alike.
            clock_ns: The stamps' clock at its arrival; 0 = not known.
        """
        if moment_ns is not None:
            self._lags_s.append(max(0.0, (moment_ns - corrected_ns) * 1e-9))
            if len(self._lags_s) >= 3:
                lag_s = sorted(self._lags_s)[len(self._lags_s) * 9 // 10]
                self.lag_s = min(lag_s, LONGEST_LAG_S + self.granted_s)
        if clock_ns > 0 and now_s - self.lead_taken_s >= LEAD_PERIOD_S:
            self.lead_taken_s = now_s
            self._leads_s.append((corrected_ns - clock_ns) * 1e-9)
            self.lead_s = sorted(self._leads_s)[len(self._leads_s) // 2]

    def forget(self) -> None:
        """Measure anew: time jumped, or stamps are corrected otherwise."""
        self.forget_lag()
        self._leads_s.clear()
        self.lead_s = self.doubt = None
        self.granted_s, self.lead_taken_s = 0.0, -math.inf

    def forget_lag(self) -> None:
        """Measure the lag anew: the moments that it was measured against were wrong."""
        self._lags_s.clear()
        self.lag_s = 0.0
