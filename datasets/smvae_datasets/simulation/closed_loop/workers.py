"""Attempts of one method, in this process or in some of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smvae_core.assistance.controller import Settings
from smvae_datasets.ray_cluster import cluster, cpus
from smvae_datasets.simulation.closed_loop.attempt import Watch, attempt
from smvae_datasets.simulation.closed_loop.failures import FAILURES
from smvae_datasets.simulation.closed_loop.methods import Method, make
from smvae_datasets.simulation.closed_loop.outcome import Outcome
from smvae_datasets.simulation.robot import SimulatedRobot
from smvae_datasets.simulation.stick_operator import OPERATORS
from smvae_datasets.worker_process import deaf_to_ctrl_c, follow_the_parent

#: Name and folder of a method -> the method; `methods.make`, or what knows others too.
Make = Callable[[str, Path | None], Method]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One attempt to make."""

    failure: str
    operator: str
    number: int


class Worker:
    """Plays attempts of one method in one process."""

    def __init__(self, method: str, bundle: Path | None, seed: int, make: Make = make) -> None:
        self.method: Method = make(method, bundle)
        self._seed = seed
        self.robot = SimulatedRobot(seed=seed, render=self.method.perceives)

    def play(self, task: Task, watch: Watch | None = None) -> Outcome:
        """Play one attempt, while somebody may watch."""
        kind, failure = OPERATORS[task.operator], FAILURES[task.failure]
        return attempt(
            self.robot, self.method, kind, failure, task.number, self._seed, Settings(), watch
        )

    def close(self) -> None:
        """Free the robot's OpenGL context."""
        self.robot.close()


_worker: Worker | None = None


def _begin(method: str, bundle: Path | None, seed: int, make: Make) -> None:
    global _worker
    follow_the_parent()
    _worker = Worker(method, bundle, seed, make)


def _play(task: Task) -> tuple[Task, Outcome]:
    assert _worker is not None
    return task, _worker.play(task)


def played(
    tasks: Sequence[Task],
    method: str,
    bundle: Path | None,
    seed: int,
    workers: int,
    make: Make = make,
    ray: str = "",
) -> Iterator[tuple[Task, Outcome]]:
    """Yield the outcome of each attempt, as it comes.

    Args:
        tasks: Attempts to make.
        method: Name of the method.
        bundle: Its folder, if it perceives.
        seed: Of cells, starts and operators.
        workers: Processes; on Ray 0 is one per core of the cluster.
        make: Makes the method.
        ray: Address of a Ray cluster that plays, see `ray_cluster.cluster`; '' = this machine.
    """
    if ray and tasks:
        folder = bundle if bundle is None else bundle.absolute()
        make(method, folder)  # what is wrong with it is said here, once
        yield from _played_on(ray, tasks, (method, folder, seed, make), workers)
        return
    if workers == 1:
        worker = Worker(method, bundle, seed, make)
        for task in tasks:
            yield task, worker.play(task)
        worker.close()
        return
    make(method, bundle)  # a pool would start workers that cannot begin again and again
    context = multiprocessing.get_context("spawn")  # an OpenGL context does not survive a fork
    with deaf_to_ctrl_c():
        pool = context.Pool(workers, _begin, (method, bundle, seed, make))
    with pool:
        yield from pool.imap_unordered(_play, tasks)


def _played_on(
    address: str, tasks: Sequence[Task], begin: tuple[Any, ...], workers: int
) -> Iterator[tuple[Task, Outcome]]:
    """Play on a Ray cluster; each worker has a robot of its own, and is replaced if it is lost."""
    with cluster(address) as ray:
        count = min(workers or cpus(ray), len(tasks))
        remote = ray.remote(num_cpus=1, max_restarts=3, max_task_retries=3)(_Player)
        players = [remote.remote(*begin) for _ in range(count)]
        waiting = list(reversed(tasks))
        busy = {player.play.remote(waiting.pop()): player for player in players}
        while busy:
            (done,), _ = ray.wait(list(busy))
            player = busy.pop(done)
            outcome = ray.get(done)
            if waiting:
                busy[player.play.remote(waiting.pop())] = player
            yield outcome


class _Player:
    """A worker of a Ray cluster."""

    def __init__(self, method: str, bundle: Path | None, seed: int, make: Make) -> None:
        self._worker = Worker(method, bundle, seed, make)

    def play(self, task: Task) -> tuple[Task, Outcome]:
        return task, self._worker.play(task)
