"""A Ray cluster for work that falls into pieces: recordings to convert, attempts to play.

Every machine of it has this project installed and sees the same folders under the same paths.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from smvae_core.errors import ConfigError, MissingDependency

#: Address of a cluster that is started on this machine for as long as it is needed.
LOCAL = "local"
#: What Ray keeps of objects of ours: paths and outcomes, no arrays.
_STORE_BYTES = 100 * 2**20
#: Settings of ours that workers take over.
_VARIABLES = ("MUJOCO_GL", "SMVAE_CACHE")


@contextmanager
def cluster(address: str, *, logs: bool = False) -> Iterator[Any]:
    """Yield the module `ray`, connected to a cluster.

    Args:
        address: HOST:PORT, 'auto' for the one that this machine belongs to, or `LOCAL`.
        logs: Show here what workers print.

    Raises:
        MissingDependency: If Ray is not installed.
        ConfigError: If no cluster answers there.
    """
    try:
        import ray
    except ImportError as err:
        raise MissingDependency("ray", "ray") from err
    variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    options: dict[str, Any] = {
        "log_to_driver": logs,
        "logging_level": logging.WARNING,
        "runtime_env": {"env_vars": variables},
    }
    if address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        options |= {
            "num_cpus": cores,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_node_ip_address": "127.0.0.1",  # nobody else is to reach it
        }
    try:
        _knock(address)
        ray.init(address=address, **options)
    except (OSError, ValueError) as err:
        first = str(err).strip().splitlines()[0]
        raise ConfigError(
            f"no Ray cluster at '{address}' ({first}): give HOST:PORT, 'auto' after `ray start`, "
            f"or '{LOCAL}' to start one on this machine"
        ) from err
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Connect to HOST:PORT: Ray itself tries for minutes where nobody listens.

    Raises:
        OSError: If nobody listens.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=5.0).close()


def cpus(ray: Any) -> int:
    """Return how many cores the cluster has."""
    return int(ray.cluster_resources().get("CPU", 1))


def spread(
    ray: Any, function: Callable[[Any], Any], tasks: Sequence[Any], *, retries: int = 3
) -> Iterator[Any]:
    """Yield what `function` returns of each task, as it comes; one core each.

    A task whose machine is lost is done again elsewhere, at most `retries` times. Where the caller
    stops early, what is under way is ended.
    """
    remote = ray.remote(num_cpus=1, max_retries=retries)(function)
    open_ = [remote.remote(task) for task in tasks]
    try:
        while open_:
            done, open_ = ray.wait(open_)
            yield ray.get(done[0])
    finally:
        for each in open_:
            ray.cancel(each)
