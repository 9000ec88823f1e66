"""Starts contenders and plays them in turns, so that whatever else the machine does hits all."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from smvae_core.errors import SMVAEError

ROOT = Path(__file__).parents[2]
#: Where a contender's Python finds our packages.
_PATHS = (ROOT, ROOT / "datasets", ROOT / "training")


class ContenderFailed(SMVAEError, RuntimeError):
    """A contender whose process ended; says what it said last."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One thing to measure."""

    name: str
    player: str
    """MODULE:CLASS, see `serve.Playing`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    python: Path = Path(sys.executable)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Played:
    """What all turns of a contender gave."""

    about: dict[str, Any]
    turns: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {"about": self.about, "turns": self.turns}


class Process:
    """A contender's process, gone at the end of a `with` block."""

    def __init__(self, contender: Contender, log: IO[bytes]) -> None:
        self.contender, self._log = contender, log
        paths = os.pathsep.join(map(str, _PATHS))
        self._process = subprocess.Popen(
            [
                str(contender.python),
                "-m",
                "benchmarks.turns.serve",
                contender.player,
                json.dumps(dict(contender.arguments)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": paths, **contender.environment},
            cwd=ROOT,
            text=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def answer(self) -> dict[str, Any]:
        """Wait for the next line.

        Raises:
            ContenderFailed: If the process ends instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            said = self._log.read().decode(errors="replace").strip()[-2000:]
            raise ContenderFailed(f"contender '{self.contender.name}' ended:\n{said}")
        found: dict[str, Any] = json.loads(line)
        return found

    def play(self) -> dict[str, Any]:
        """Play one turn; see `answer`."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `answer` says why
            print(file=self._process.stdin, flush=True)
        return self.answer()


def play(
    contenders: Sequence[Contender],
    turns: int,
    *,
    warm_up: int = 1,
    lock: Path | None = None,
    after: Callable[[Mapping[str, Played]], None] = lambda _: None,
) -> dict[str, Played]:
    """Play turns of all contenders, one after another, each round from another one on.

    Args:
        contenders: All live until the end.
        turns: Of each, that count.
        warm_up: Of each before, that do not.
        after: Called with what there is after each round that counts.
        lock: File that is locked for each round, where benchmarks share a machine.

    Raises:
        ContenderFailed: If one fails.
    """
    found: dict[str, Played] = {}
    with ExitStack() as stack:
        processes: list[Process] = []
        for contender in contenders:
            log = stack.enter_context(tempfile.TemporaryFile())
            processes.append(stack.enter_context(Process(contender, log)))
        for process in processes:
            found[process.contender.name] = Played(process.answer(), [])
        for number in range(-warm_up, turns):
            first = number % len(processes)
            with _locked(lock):
                for process in (*processes[first:], *processes[:first]):
                    turn = process.play()
                    if number >= 0:
                        turn["load"] = os.getloadavg()[0]
                        found[process.contender.name].turns.append(turn)
            print(f"turn {max(number + 1, 0)} of {turns}", file=sys.stderr)
            if number >= 0:
                after(found)
    return found


@contextmanager
def _locked(path: Path | None) -> Iterator[None]:
    """Hold the lock of a file, if there is one."""
    if path is None:
        yield
        return
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
