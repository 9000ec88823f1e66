"""Processes that need not import: forks of one process that has imported what a node imports.

Imports are a third of what a node's process does in a test, and the tests start hundreds.
`Nursery` starts this file as a program: it imports, begins nothing of ROS, has one thread, and
forks for whoever asks. A fork is a process as any other: its own signals, environment, folder, log
and exit status, and its own part of DDS. What a start does is for a fresh process to show.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: What a node imports, but for rclpy: that loads ROS's libraries, and one of them starts threads.
PRELOADED = (
    *("smvae_core.perceiver", "smvae_core.memory.recall", "smvae_core.novelty.renewed"),
    *("smvae_core.novelty.odd_ones_out", "yaml"),
    *("rosidl_generator_py.import_type_support_impl", "rosidl_generator_py.generate_py_impl"),
    *("diagnostic_msgs.msg", "geometry_msgs.msg", "sensor_msgs.msg", "smvae_msgs.msg"),
    *("std_msgs.msg", "lifecycle_msgs.msg", "lifecycle_msgs.srv", "rcl_interfaces.msg"),
    *("rcl_interfaces.srv", "service_msgs.msg", "std_srvs.srv", "type_description_interfaces.srv"),
)
#: What Python, its libraries and the loader read once: a process whose own differs must be fresh.
READ_ONCE = ("PYTHON", "LD_", "RCUTILS_", "RMW_")


def read_once(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that a fork cannot change any more."""
    return {k: v for k, v in environment.items() if k.startswith(READ_ONCE)}


class Forked:
    """A fork, with what is used of `subprocess.Popen`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery, self.pid = nursery, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self._nursery.hear(0.0)
            self.returncode = self._nursery.ended.get(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end_s = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left_s = 60.0 if end_s is None else end_s - time.monotonic()
            if left_s <= 0.0:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0.0)
            self._nursery.hear(left_s)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks, and what it said of its forks."""

    def __init__(self) -> None:
        self.environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment | one_thread,
        )
        self.ended: dict[int, int] = {}
        self._begun: list[int] = []
        self._unread = b""

    def fork(
        self, code: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> Forked:
        """Run code as `python -c CODE ARGUMENTS`, with its output in a file."""
        job = {
            "code": code,
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": os.getcwd(),
            "log": str(log),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        while not self._begun:
            self.hear(60.0)
        pid = self._begun.pop()
        self.ended.pop(pid, None)  # of an earlier process with that number
        return Forked(self, pid)

    def hear(self, seconds: float) -> None:
        """Take in what was said, and wait for it at most so long."""
        assert self._process.stdout is not None
        said = self._process.stdout.fileno()
        if not select.select([said], [], [], seconds)[0]:
            return
        data = os.read(said, 65536)
        assert data, "the process that forks has ended"
        *lines, self._unread = (self._unread + data).split(b"\n")
        for words in map(bytes.split, lines):
            if words[0] == b"begun":
                self._begun.append(int(words[1]))
            else:
                self.ended[int(words[1])] = int(words[2])

    def may_fork(self, environment: Mapping[str, str]) -> bool:
        """Return whether a fork can have this environment: what is read once stays as it is."""
        return read_once(environment) == read_once(self.environment)

    def close(self) -> None:
        """End it; what it forked goes on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60.0)
        self._process.stdout.close()


def say(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


def serve() -> dict[str, Any] | None:
    """Fork for every job that is read; return the job in the fork, None at the end of all jobs."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    unread = b""
    while True:
        ready = select.select([0, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            tell_of_the_ended()
        if 0 not in ready:
            continue
        data = os.read(0, 65536)
        if not data:
            return None
        *lines, unread = (unread + data).split(b"\n")
        for line in lines:
            assert len(os.listdir("/proc/self/task")) == 1, "threads do not survive a fork"
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                os.close(woken)
                os.close(wake)
                job: dict[str, Any] = json.loads(line)
                return job
            say("begun", pid)


def tell_of_the_ended() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        say("ended", pid, os.waitstatus_to_exitcode(status))


def become(job: Mapping[str, Any]) -> None:
    """Make this fork what `python -c` would be: signals, streams, environment, folder, words."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream, path, how in (
        (0, os.devnull, os.O_RDONLY),
        (1, job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        file = os.open(path, how, 0o644)
        os.dup2(file, stream)
        os.close(file)
    os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    sys.path[0] = ""
    sys.argv[:] = ["-c", *job["arguments"]]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's is for the tests
    for name in PRELOADED:
        importlib.import_module(name)
    assert "torch" not in sys.modules, "a node may not import torch"
    if (given := serve()) is not None:
        become(given)
        exec(compile(given["code"], "<string>", "exec"), {"__name__": "__main__"})
