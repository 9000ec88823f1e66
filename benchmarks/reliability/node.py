"""The perception node as a process of its own, as a supervisor sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from smvae_datasets.simulation.ros_domain import free_domain

#: The node's process cannot import torch.
_CODE = (
    "import sys; sys.modules['torch'] = None; "
    "from smvae_ros.perception_node import main; sys.exit(main())"
)


def random_domain() -> int:
    """Return a ROS domain on which runs beside each other do not meet."""
    return free_domain()


def environment(domain: int) -> dict[str, str]:
    """Return the environment of a process on a domain of this machine alone."""
    return os.environ | {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }


class NodeProcess:
    """Context manager: started on entry and by `start`, gone afterwards."""

    def __init__(self, domain: int, log: Path, parameters: Mapping[str, Any]) -> None:
        """Prepare.

        Args:
            domain: ROS domain.
            log: Its output is appended here.
            parameters: Given on its command line.
        """
        self._domain, self.log = domain, log
        self._arguments = [
            part for k, v in parameters.items() for part in ("-p", f"{k}:={_spelled(v)}")
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._left: list[Path] = []

    def __enter__(self) -> NodeProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, _: TracebackType | None
    ) -> None:
        if self.alive:
            self.process.terminate()
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.kill()
        for path in self._left:
            path.unlink(missing_ok=True)
        if err is not None:
            print(f"the end of the node's log:\n{self.text()[-3000:]}", file=sys.stderr)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The present process."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def start(self) -> None:
        """Start it, also again."""
        with self.log.open("a") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE, "--ros-args", *self._arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(self._domain),
            )

    def kill(self) -> None:
        """End it by SIGKILL; the shared memory that it leaves is removed on exit, not before."""
        self._left += _shared_memory(self.process.pid)
        self.process.kill()
        self.process.wait()

    def interrupt(self, timeout_s: float = 20.0) -> int:
        """Send SIGINT and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout_s)

    def text(self) -> str:
        """Return its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def usage(self) -> dict[str, float]:
        """Return resident memory and its parts [MB], threads, file descriptors, CPU time [s]."""
        folder = Path(f"/proc/{self.process.pid}")
        lines = (folder / "status").read_text(encoding="ascii").splitlines()
        status = {key: rest.split() for key, _, rest in (line.partition(":") for line in lines)}
        fields = (folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return {
            "rss_mb": int(status["VmRSS"][0]) / 1e3,
            "anonymous_mb": int(status["RssAnon"][0]) / 1e3,
            "shared_mb": int(status["RssShmem"][0]) / 1e3,
            "threads": int(status["Threads"][0]),
            "descriptors": len(list((folder / "fd").iterdir())),
            "cpu_s": ticks / os.sysconf("SC_CLK_TCK"),
        }


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shared_memory(pid: int) -> list[Path]:
    """Return the shared memory that Fast DDS made for a process: it holds a lock on each file."""
    fields = [line.split() for line in Path("/proc/locks").read_text("ascii").splitlines()]
    inodes = {int(f[5].split(":")[2]) for f in fields if f[1] != "->" and f[4] == str(pid)}
    locks = [p for p in Path("/dev/shm").glob("fastrtps_*_el") if p.stat().st_ino in inodes]
    return [f for p in locks for f in (p, p.with_name(p.name.removesuffix("_el")))]
