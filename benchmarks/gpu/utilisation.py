"""How busy a GPU is while something runs, by nvidia-smi twice a second."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from types import TracebackType

import numpy as np

#: What is asked, in this order; each answer is a number.
QUERY = ("utilization.gpu", "memory.used", "power.draw")
PERIOD_MS = 500


class Utilisation:
    """Watches the first GPU from `with` to its end."""

    def __enter__(self) -> Utilisation:
        command = ["nvidia-smi", "-i", "0", f"--query-gpu={','.join(QUERY)}"]
        command += ["--format=csv,noheader,nounits", "-lms", str(PERIOD_MS)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._began = time.perf_counter()
        self.found: dict[str, float] = {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        said, _ = self._process.communicate()
        self.found = summary(said.splitlines()) | {"seconds": time.perf_counter() - self._began}


def summary(lines: Iterable[str]) -> dict[str, float]:
    """Return mean and percentiles of what nvidia-smi said, less lines that are no numbers."""
    rows = []
    for line in lines:
        try:
            row = [float(each) for each in line.split(",")]
        except ValueError:
            continue
        if len(row) == len(QUERY):
            rows.append(row)
    if not rows:
        return {}
    busy, memory, power = np.array(rows).T
    return {
        "busy_percent": float(busy.mean()),
        "busy_percent_p10": float(np.percentile(busy, 10)),
        "memory_mb": float(memory.max()),
        "power_w": float(power.mean()),
        "looks": float(len(rows)),
    }
