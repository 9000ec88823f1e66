"""Run every (data, method, seed) that has no result yet: `python -m benchmarks.paper.run_queue`.

Stopped and started again, it goes on where it was: finished results are skipped, trainings resume
from their checkpoint. Several may run beside each other; a job is claimed by a lock that ends with
its process.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from filelock import FileLock, Timeout

from benchmarks.command import options_of
from benchmarks.paper.experiments import EXPERIMENTS, SEEDS, lookup
from benchmarks.paper.job import Job
from benchmarks.paper.variants import METHODS
from smvae_core.errors import SMVAEError
from smvae_training.cli import configure_logging, quiet_lightning
from smvae_training.threads import use_cores, wait_briefly

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class QueueOptions:
    """What to run; everything by default."""

    experiments: tuple[str, ...] = tuple(EXPERIMENTS)
    """Data sets and budgets."""
    methods: tuple[str, ...] = ()
    """Methods, in this order; by default each experiment's own."""
    seeds: tuple[int, ...] = SEEDS
    runs: Path = Path("runs/benchmarks")
    """Folder of run folders: weights, checkpoints, logs."""
    data: Path | None = None
    """Folder of the data set, where it is not found by itself."""
    list: bool = False
    """Only say what is done and what is not."""


def jobs(options: QueueOptions) -> Iterator[Job]:
    """Yield the jobs in order: a seed of every method first, then the next seed."""
    for name in options.experiments:
        experiment = lookup(EXPERIMENTS, name, "experiment")
        names = options.methods or experiment.methods
        seeds = [seed for seed in options.seeds if seed in experiment.seeds]
        for seed, method in product(seeds, names):
            yield Job(
                experiment, lookup(METHODS, method, "method"), seed, options.runs, options.data
            )


@contextmanager
def claimed(runs: Path, name: str) -> Iterator[bool]:
    """Yield whether this process, and no other, has what is so called."""
    runs.mkdir(parents=True, exist_ok=True)
    lock = FileLock(runs / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def work(job: Job) -> bool:
    """Do a job, unless another process does it, or tunes its method; return whether it was done.

    The seeds of a method share its tuning, and are trained beside each other once that is done.
    """
    with claimed(job.runs, job.name) as mine:
        if not mine or job.done:
            return False
        if not job.tuned:
            with claimed(job.runs, f"{job.experiment.name}.{job.method.name}") as tunes:
                if not tunes:
                    return False
                job.tune()  # reads it where another process has just written it
        job.work()
        return True


def main() -> int:
    """Run the queue and return the exit status."""
    options = options_of(QueueOptions, "benchmarks.paper.run_queue", __doc__)
    configure_logging(verbose=False)
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    quiet_lightning()
    try:
        todo = list(jobs(options))
        if options.list:
            for job in todo:
                print(f"{'done' if job.done else 'open'}  {job.name}")
            return 0
        use_cores()
        return run_all(todo)
    except SMVAEError as err:
        print(f"run_queue: error: {' '.join(str(err).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run_queue: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def run_all(todo: list[Job]) -> int:
    """Work until nothing is open, passing over what another process has claimed.

    A job that fails says why and is not tried again; the others go on. Returns the exit status.
    """
    started, last = time.perf_counter(), -1
    failed: set[str] = set()
    while pending := [job for job in todo if not job.done and job.name not in failed]:
        if len(pending) == last:
            time.sleep(5)  # all that is open is being worked on elsewhere
        last = len(pending)
        for job in pending:
            begin = time.perf_counter()
            try:
                if not work(job):
                    continue
            except SMVAEError as err:
                logger.error("%s: %s", job.name, " ".join(str(err).split()))
                failed.add(job.name)
                continue
            done = sum(j.done for j in todo)
            logger.info(
                "%d of %d done; %s took %.0f s, %.0f s in all",
                done,
                len(todo),
                job.name,
                time.perf_counter() - begin,
                time.perf_counter() - started,
            )
    if failed:
        logger.error("%d of %d failed: %s", len(failed), len(todo), ", ".join(sorted(failed)))
    return 2 if failed else 0


if __name__ == "__main__":
    if wait_briefly():  # what was loaded with torch has read the environment already
        os.execv(
            sys.executable, [sys.executable, "-m", "benchmarks.paper.run_queue", *sys.argv[1:]]
        )
    sys.exit(main())
