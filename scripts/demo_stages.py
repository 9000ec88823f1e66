"""Stages that are done once: each leaves a stamp and is redone when its settings change."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console

from smvae_core.errors import SMVAEError


class StageFailed(SMVAEError, RuntimeError):
    """A stage did not do its job."""

    def __init__(self, stage: str, what: str) -> None:
        super().__init__(f"stage '{stage}': {what}")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the demo."""

    name: str
    title: str
    settings: dict[str, Any]
    """What its output depends on, beside the stage before it."""
    output: Path
    """Must exist for the stage to count as done."""
    work: Callable[[bool], None]
    """Does it; gets whether an interrupted attempt with the same settings may be continued."""


class StageRunner:
    """Runs stages in order, skipping those whose stamp says that they are done."""

    def __init__(self, folder: Path, console: Console, total: int) -> None:
        """Start before the first stage.

        Args:
            folder: Where stamps lie.
            console: For progress.
            total: Number of stages, for the display.
        """
        self._folder, self._console, self._total = folder, console, total
        self._before: dict[str, Any] = {}
        self._position = 0
        self.reused: list[str] = []

    def run(self, stage: Stage) -> None:
        """Do the stage, or reuse it.

        Raises:
            StageFailed: If its work fails or leaves no output.
        """
        self._position += 1
        head = f"[bold]{self._position}/{self._total} {stage.title}[/bold]"
        wanted = {"settings": stage.settings, "after": self._before}
        stamp, begun = self._folder / f"{stage.name}.json", self._folder / f"{stage.name}.begun"
        done = _read(stamp)
        if done is not None and done["inputs"] == wanted and stage.output.exists():
            self._console.print(f"{head}: reused, took {done['seconds']:.0f} s when it was done")
            self.reused.append(stage.name)
            self._before = {"stage": stage.name, "finished": done["finished"]}
            return
        self._console.print(f"{head} ...")
        self._folder.mkdir(parents=True, exist_ok=True)
        attempt = _read(begun)
        stamp.unlink(missing_ok=True)
        _write(begun, {"inputs": wanted})
        start = time.monotonic()
        stage.work(attempt is not None and attempt["inputs"] == wanted)
        if not stage.output.exists():
            raise StageFailed(stage.name, f"left no {stage.output}")
        seconds = time.monotonic() - start
        finished = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        _write(stamp, {"inputs": wanted, "seconds": seconds, "finished": finished})
        begun.unlink(missing_ok=True)
        self._before = {"stage": stage.name, "finished": finished}
        self._console.print(f"{head}: done in {seconds:.0f} s")


def command(stage: str, *words: object) -> None:
    """Run one of our commands in the foreground; Ctrl-C lets it finish its own clean-up.

    Raises:
        StageFailed: If it exits with anything but 0.
        KeyboardInterrupt: If it was interrupted.
    """
    with subprocess.Popen([str(w) for w in words]) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()  # it got the same signal from the terminal
            raise
        except BaseException:
            process.terminate()
            raise
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise StageFailed(stage, f"'{' '.join(map(str, words[:3]))} ...' exited with {code}")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _write(path: Path, data: dict[str, Any]) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
