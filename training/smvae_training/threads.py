"""How a process shares the cores with those beside it: how many threads, and how they wait.

Threads of one step wait for each other. Where another process takes a core, they wait for a whole
time slice at each meeting, and two trainings of two threads on two cores fall to a tenth of their
speed: oneDNN's own barriers spin whatever OpenMP is told. So a training has as many threads as
others leave cores, and looks again as it runs. Whatever the user's environment says wins.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

logger = logging.getLogger(__name__)

THREADS = "OMP_NUM_THREADS"
#: How long OpenMP's threads spin before they sleep: GNU's in turns (default 300,000), Intel's in
#: ms (default 200). Sleeping at once (OMP_WAIT_POLICY=PASSIVE) made a training alone a quarter
#: slower, see docs/decisions/training-threads.md.
SPIN = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
#: Each of them says how threads wait, to one OpenMP or another.
WAITING = ("OMP_WAIT_POLICY", *SPIN)


def wait_briefly() -> bool:
    """Let OpenMP's threads spin briefly, then sleep; return whether that was not said already.

    To be called before torch is imported, which reads it once.
    """
    if any(name in os.environ for name in WAITING):
        return False
    os.environ.update(SPIN)
    return True


def use_cores(processes: int = 1) -> None:
    """Give torch as many threads as there are cores for each of so many processes, and say so."""
    import torch

    if THREADS in os.environ:
        reason = THREADS
    else:
        cores = usable_cores()
        torch.set_num_threads(max(1, cores // processes))
        reason = f"{cores} usable cores, {processes} processes" if processes > 1 else "usable cores"
    waiting = " ".join(f"{name}={os.environ[name]}" for name in WAITING if name in os.environ)
    logger.info("threads: %d (%s), %s", torch.get_num_threads(), reason, waiting or "spinning")


class CoreShare:
    """Keeps torch's threads at what others leave of the cores, while a long work runs.

    Sums differ in their last bits between numbers of threads: who wants equal bits sets
    OMP_NUM_THREADS, then nothing is changed here.
    """

    def __init__(self, most: int, period_s: float = 5.0, stat: Path = Path("/proc/stat")) -> None:
        """Start looking.

        Args:
            most: Threads of a machine where nothing else runs.
            period_s: Looked at so often; two looks must agree.
            stat: Linux's counters; where they are missing nothing is ever changed.
        """
        self._most, self._period_s, self._stat = most, period_s, stat
        self._fixed = THREADS in os.environ or most < 2
        self._wanted = 0
        self._seen = self._look()

    def look(self) -> None:
        """Change the number of threads if others have taken or left cores; cheap to call often."""
        if self._fixed or time.monotonic() - self._seen[0] < self._period_s:
            return
        import torch

        before, self._seen = self._seen, self._look()
        wall_s, own_s, idle_s = (now - then for now, then in zip(self._seen, before, strict=True))
        wanted = max(1, min(self._most, round((own_s + idle_s) / wall_s)))
        agreed, self._wanted = wanted == self._wanted, wanted
        if agreed and wanted != torch.get_num_threads():
            logger.info(
                "threads: %d of %d, as many as other processes leave cores (%s pins it)",
                wanted,
                self._most,
                THREADS,
            )
            torch.set_num_threads(wanted)

    def _look(self) -> tuple[float, float, float]:
        """Return steady time, CPU time of this process, and idle time of the cores it may use."""
        try:
            lines = self._stat.read_text(encoding="ascii").splitlines()
        except OSError:
            self._fixed = True
            lines = []
        mine = {f"cpu{core}" for core in os.sched_getaffinity(0)} if lines else set()
        rows = [line.split() for line in lines if line.split(maxsplit=1)[0] in mine]
        ticks = sum(int(row[4]) + int(row[5]) for row in rows)  # idle, and idle beside disks
        return time.monotonic(), time.process_time(), ticks / os.sysconf("SC_CLK_TCK")


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use, by its affinity and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        granted, period = quota.read_text(encoding="ascii").split()
        limit = int(granted) / int(period)
    except (OSError, ValueError):  # no container, or "max"
        return cores or 1
    return max(1, min(cores or 1, round(limit)))
