"""Durations of the newest runs and their percentiles, on the steady clock."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

#: Percentiles are over this long.
WINDOW_S = 10.0
#: More runs than this in the window only add cost.
_KEPT = 20_000


class Run(NamedTuple):
    """One published latent."""

    at_s: float
    inference_s: float
    latency_s: float
    """Arrival of the triggering message to publishing."""


class Latencies:
    """The runs of the last 10 s; added by one thread, read by another."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: deque[Run] = deque(maxlen=_KEPT)
        self._started_s = clock()
        self.published = 0

    def add(self, inference_s: float, latency_s: float) -> None:
        """Note one run that was published just now."""
        with self._lock:
            self._runs.append(Run(self._clock(), inference_s, latency_s))
            self.published += 1

    def _forget(self) -> None:
        while self._runs and self._runs[0].at_s < self._clock() - WINDOW_S:
            self._runs.popleft()

    def summary(self) -> dict[str, float]:
        """Return rate_hz and the p50, p95 and p99 of both durations [ms]; NaN without runs."""
        with self._lock:
            self._forget()
            runs = list(self._runs)
        seconds = min(WINDOW_S, max(self._clock() - self._started_s, 1e-3))
        values = {"rate_hz": len(runs) / seconds}
        for name, durations in (
            ("inference", [r.inference_s for r in runs]),
            ("node_latency", [r.latency_s for r in runs]),
        ):
            for q in (50, 95, 99):
                value = float(np.percentile(durations, q)) * 1e3 if durations else float("nan")
                values[f"{name}_p{q}_ms"] = value
        return values
