"""What diagnostics say about one input topic: rate, transport delay, implausible samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smvae_ros.report.rarely import Rarely
from smvae_ros.report.restarts import Restarts

#: Arrivals are counted over so long [s], so that the rate of a silent topic falls to zero.
SPAN_S = 5.0
_KEPT = 300


class TopicStatistics:
    """Arrivals of one topic; written by its callback, read by diagnostics."""

    def __init__(self) -> None:
        self._arrivals_s: deque[float] = deque(maxlen=_KEPT)
        self._delays_s: deque[float] = deque(maxlen=_KEPT)
        self.rarely = Rarely()
        """Which warnings about it may be logged."""
        self.restarts = Restarts()
        """Of its stamps."""
        self.implausible = ""
        """What is odd about the newest sample, though it is valid; '' = nothing."""
        self.implausible_samples = 0
        self.used = 0
        """Samples that entered a latent."""

    def arrived(self, now_s: float, info: Mapping[str, Any]) -> None:
        """Note a message.

        Args:
            now_s: Steady clock.
            info: What the middleware tells beside the message: `source_timestamp` and
                `received_timestamp` in ns of the two hosts' clocks, 0 where it does not know.
        """
        self._arrivals_s.append(now_s)
        source, received = info.get("source_timestamp", 0), info.get("received_timestamp", 0)
        if source > 0 and received > 0:
            self._delays_s.append((received - source) * 1e-9)

    def judged(self, text: str) -> None:
        """Note that a sample entered a latent, and what is implausible about it ('' = nothing)."""
        self.used += 1
        self.implausible = text
        self.implausible_samples += bool(text)

    def rate_hz(self, now_s: float) -> float:
        """Return arrivals per second over the last seconds on the steady clock."""
        recent = [t for t in tuple(self._arrivals_s) if now_s - t <= SPAN_S]
        return (len(recent) - 1) / max(now_s - recent[0], 1e-6) if len(recent) > 1 else 0.0

    def transport_delays_ms(self, shares: Sequence[float]) -> list[float]:
        """Return percentiles of publishing to receiving; NaN where the middleware does not tell.

        Between hosts whose clocks differ they are off by that difference, and may be negative.
        """
        delays = tuple(self._delays_s)
        if not delays:
            return [float("nan")] * len(shares)
        return [float(each) * 1e3 for each in np.percentile(delays, shares)]
