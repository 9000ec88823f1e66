"""How a process shares the cores with those beside it: threads, and how they wait.

OpenMP's threads spin while they wait for each other. Two trainings on the same cores then keep each
other from the very thread that is waited for, and fall to a fraction of their speed. Ours sleep.
Whatever the user's environment says of it wins.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

WAIT_POLICY, THREADS = "OMP_WAIT_POLICY", "OMP_NUM_THREADS"
#: Each of them says how threads wait, to one OpenMP or another.
WAITING = (WAIT_POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_passively() -> bool:
    """Let OpenMP's threads sleep while they wait; return whether that was not said already.

    To be called before torch is imported, which reads it once.
    """
    if any(name in os.environ for name in WAITING):
        return False
    os.environ[WAIT_POLICY] = "PASSIVE"
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


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use, by its affinity and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        granted, period = quota.read_text(encoding="ascii").split()
        limit = int(granted) / int(period)
    except (OSError, ValueError):  # no container, or "max"
        return cores or 1
    return max(1, min(cores or 1, round(limit)))
