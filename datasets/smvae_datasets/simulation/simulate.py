"""Simulate many episodes in parallel: `smvae simulate OUT --episodes N --seed S --workers W`."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from smvae_datasets.simulation.errors import SimulationStopped
from smvae_datasets.simulation.options import SimulateOptions, claim_folder
from smvae_datasets.worker_process import deaf_to_ctrl_c, follow_the_parent

if TYPE_CHECKING:
    from smvae_datasets.simulation.robot import SimulatedRobot

MIN_EPISODES_FOR_R2 = 8


@dataclass(frozen=True, kw_only=True)
class SimulationSummary:
    """What lies in the folder after a run."""

    episodes: int
    """Finished episodes, now and before."""
    simulated_steps: int
    """Steps made by this run."""
    seconds: float
    """Wall time of this run [s]."""
    shares: dict[str, float]
    """Fraction of all steps that were free, contact, jammed, inserted."""
    attempts: int
    """Attempts begun."""
    successes: int
    """Attempts that seated the peg."""
    position_r2: dict[str, float]
    """How well force and action tell where the peg is (`position_r2`); empty for few episodes."""
    interrupted: bool
    """Whether Ctrl-C ended the run early."""

    @property
    def steps_per_s(self) -> float:
        """Steps per second of this run, all workers together."""
        return self.simulated_steps / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        lines = [
            f"{self.episodes} episodes{' (interrupted: run again to resume)' * self.interrupted}",
            f"steps simulated now: {self.simulated_steps} in {self.seconds:.0f} s, "
            f"{self.steps_per_s:.0f} per s",
            f"shares of steps: {shares}",
            f"attempts: {self.attempts}, of them succeeded: {self.successes}",
        ]
        if self.position_r2:
            told = ", ".join(f"{name} {value:.2f}" for name, value in self.position_r2.items())
            lines.append(f"peg position told by force + action (R^2, held-out episodes): {told}")
        return "\n".join(lines)


def simulate(options: SimulateOptions) -> SimulationSummary:
    """Write the episodes that are not there yet; Ctrl-C keeps what is finished.

    Raises:
        SettingsMismatch: If the folder was begun with other settings.
        SimulationStopped: If a worker failed; finished episodes are kept.
        MissingEngine: If MuJoCo is not installed.
    """
    from smvae_datasets.simulation.episodes import is_finished  # imports MuJoCo

    claim_folder(options)
    pending = [e for e in range(options.num_episodes) if not is_finished(options, e)]
    begin, interrupted, done = time.monotonic(), False, 0
    with _progress(options, len(pending)) as advance:
        try:
            for _ in _run(options, pending):
                done += 1
                advance(options.num_steps)
        except KeyboardInterrupt:
            interrupted = True
    summary = _summarise(options, done, time.monotonic() - begin, interrupted)
    if options.progress:
        Console().print(str(summary), highlight=False)
    return summary


def _run(options: SimulateOptions, pending: list[int]) -> Iterator[int]:
    """Simulate the pending episodes; yields each one's number as it is finished."""
    if options.workers == 1 or len(pending) <= 1:
        worker = _Worker(options)
        for episode in pending:
            if worker.run(episode):
                yield episode
        worker.close()
        return
    context = multiprocessing.get_context("spawn")  # an OpenGL context does not survive a fork
    stop = context.Event()
    workers = min(options.workers, len(pending))
    with ProcessPoolExecutor(workers, context, _start_worker, (options, stop)) as pool:
        with deaf_to_ctrl_c():
            futures: dict[Future[bool], int] = {pool.submit(_run_in_worker, e): e for e in pending}
        try:
            for future in as_completed(futures):
                try:
                    finished = future.result()
                except Exception as err:
                    raise SimulationStopped(futures[future], err) from err
                if finished:
                    yield futures[future]
        finally:
            stop.set()  # each worker ends at its next file, at most 50 steps from now
            pool.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """A robot of its own, kept from episode to episode."""

    def __init__(self, options: SimulateOptions, stop: Any = None) -> None:
        self.options, self._stop = options, stop
        self._robot: SimulatedRobot | None = None

    def run(self, episode: int) -> bool:
        from smvae_datasets.simulation.episodes import write_episode
        from smvae_datasets.simulation.robot import SimulatedRobot

        if self._robot is None:
            self._robot = SimulatedRobot(seed=self.options.seed, variation=self.options.variation)
        stopped = self._stop.is_set if self._stop is not None else lambda: False
        return write_episode(self._robot, self.options, episode, stopped)

    def close(self) -> None:
        if self._robot is not None:
            self._robot.close()


_worker: _Worker | None = None


def _start_worker(options: SimulateOptions, stop: Any) -> None:
    """Runs once in each worker process."""
    global _worker
    follow_the_parent()  # which sets `stop` on Ctrl-C
    _worker = _Worker(options, stop)


def _run_in_worker(episode: int) -> bool:
    assert _worker is not None
    return _worker.run(episode)


def _summarise(
    options: SimulateOptions, done: int, seconds: float, interrupted: bool
) -> SimulationSummary:
    from smvae_datasets.simulation.episodes import episode_files, is_finished, read_counts
    from smvae_datasets.simulation.predictability import position_r2
    from smvae_datasets.simulation.robot import CONDITIONS

    finished = [e for e in range(options.num_episodes) if is_finished(options, e)]
    counts = [read_counts(options, episode) for episode in finished]
    total = np.sum([c.conditions for c in counts], axis=0) if counts else np.zeros(len(CONDITIONS))
    shares = {
        name: float(n) / max(float(np.sum(total)), 1.0)
        for name, n in zip(CONDITIONS, total, strict=True)
    }
    enough = len(finished) >= MIN_EPISODES_FOR_R2
    return SimulationSummary(
        episodes=len(finished),
        simulated_steps=done * options.num_steps,
        seconds=seconds,
        shares=shares,
        attempts=sum(c.attempts for c in counts),
        successes=sum(c.successes for c in counts),
        position_r2=position_r2([episode_files(options, e) for e in finished]) if enough else {},
        interrupted=interrupted,
    )


@contextmanager
def _progress(options: SimulateOptions, pending: int) -> Iterator[Any]:
    """A bar over the steps still to make; yields a function that advances it."""
    columns = (
        TextColumn("simulate"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        MofNCompleteColumn(),
        TextColumn("steps  {task.fields[rate]:.0f}/s  left"),
        TimeRemainingColumn(),
    )
    begin, made = time.monotonic(), 0
    with Progress(*columns, disable=not options.progress) as progress:
        task = progress.add_task("simulate", total=pending * options.num_steps, rate=0.0)

        def advance(steps: int) -> None:
            nonlocal made
            made += steps
            progress.update(task, advance=steps, rate=made / (time.monotonic() - begin))

        yield advance
