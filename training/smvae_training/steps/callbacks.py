"""What happens around the steps: checkpoint, metrics file, progress bar, a clean stop on Ctrl-C."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from smvae_core.files import naming, write_text
from smvae_training.run import RunPaths
from smvae_training.steps.module import SMVAETraining, TrainingDiverged
from smvae_training.threads import CoreShare

logger = logging.getLogger(__name__)

#: Steps after which several devices agree on whether to stop: it makes a GPU wait.
AGREED_EVERY = 10


def training(module: LightningModule) -> SMVAETraining:
    """Return the module as what it is; Lightning's hooks know only its base class."""
    assert isinstance(module, SMVAETraining)
    return module


class Checkpoint(Callback):
    """Write checkpoints/last.ckpt every n steps, at a stop and at the end; never within a step.

    The one before it is kept as previous.ckpt. What is not finite is never written.
    """

    def __init__(
        self, paths: RunPaths, every_n_steps: int, on_saved: Callable[[int], None]
    ) -> None:
        """Store where and how often.

        Args:
            paths: Where the checkpoints lie.
            every_n_steps: 0 writes only at the end.
            on_saved: Called on rank zero with the number of steps taken, after each save.
        """
        self._paths = paths
        self._every = every_n_steps
        self._on_saved = on_saved
        self._saved_step = -1

    def save(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the checkpoint beside the old one, then replace it. All ranks take part.

        Raises:
            TrainingDiverged: If it would not be finite; the old one stays.
        """
        step = trainer.global_step
        if step == self._saved_step:
            return
        problem = training(module).problem()
        if not trainer.strategy.reduce_boolean_decision(not problem):
            raise TrainingDiverged(step, problem or "another device's model is not finite")
        last = self._paths.checkpoint
        temporary = last.with_suffix(".tmp")
        try:
            with naming(last):
                trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                if last.exists():
                    os.replace(last, self._paths.previous)
                os.replace(temporary, last)
                self._on_saved(step)
        finally:
            if trainer.is_global_zero:
                temporary.unlink(missing_ok=True)
        self._saved_step = step

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if self._every and trainer.global_step % self._every == 0:
            self.save(trainer, module)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.save(trainer, module)


class StopOnInterrupt(Callback):
    """First Ctrl-C (or `stop_after` steps): finish the step and leave; second: stop at once."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.interrupted = False
        self._stop_after = stop_after
        self._previous: Any = None

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        logger.warning("stopping after this step (Ctrl-C again stops at once)")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._stop_after is not None and trainer.global_step >= self._stop_after:
            self.interrupted = True
        elif trainer.world_size > 1:  # all after the same step: who goes on alone waits for ever
            if trainer.global_step % AGREED_EVERY and trainer.global_step != trainer.max_steps:
                return
            self.interrupted = trainer.strategy.reduce_boolean_decision(self.interrupted, all=False)
        if self.interrupted:
            trainer.should_stop = True

    def teardown(self, *_: Any, **__: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None


class ShareCores(Callback):
    """Use the cores that other processes leave, as they come and go."""

    def on_train_start(self, *_: Any) -> None:
        self._threads = torch.get_num_threads()
        self._share = CoreShare(self._threads)

    def on_train_batch_start(self, *_: Any) -> None:
        self._share.look()

    def on_train_end(self, *_: Any) -> None:
        torch.set_num_threads(self._threads)


class MetricsFile(Callback):
    """Append one JSON line per logged step to metrics.jsonl, and keep it in step with a resume.

    Rows after the checkpoint's step belong to work that a resume repeats; they are cut off.
    """

    def __init__(self, path: Path, every_n_steps: int) -> None:
        self._path = path
        self._every = max(every_n_steps, 1)
        self._since = (0.0, 0)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._since = (time.perf_counter(), trainer.global_step)
        if trainer.is_global_zero:
            rows = [row for row in read_metrics(self._path) if row["step"] <= trainer.global_step]
            write_text(self._path, "".join(json.dumps(r) + "\n" for r in rows))

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        step = trainer.global_step
        if step % self._every and step != 1 and step != trainer.max_steps:
            return
        row: dict[str, Any] = {"step": step} | training(module).metrics()
        then, step_then = self._since
        now = time.perf_counter()
        records = (step - step_then) * training(module).batch_size
        row["samples_per_s"] = records / max(now - then, 1e-9)
        self._since = (now, step)
        self.append(trainer, row)

    def append(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Write one row to the file and to every logger of the trainer."""
        if not trainer.is_global_zero:
            return
        with naming(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        scalars = {k: v for k, v in row.items() if k != "step"}
        for each in trainer.loggers:
            each.log_metrics(scalars, step=row["step"])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics.jsonl; a last line cut short by a crash is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


class StepBar(Callback):
    """A bar with loss and speed on a terminal; a log line now and then anywhere else."""

    def __init__(self, every_n_steps: int) -> None:
        self._every = max(every_n_steps, 1)
        self._progress: Progress | None = None
        self._task: Any = None
        self._start = (0.0, 0)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._start = (time.perf_counter(), trainer.global_step)
        if not trainer.is_global_zero or not sys.stderr.isatty():
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        )
        self._progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn())
        self._task = self._progress.add_task("train", total=trainer.max_steps)
        self._progress.start()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if self._progress is not None:
            self._progress.update(self._task, completed=step)
        if step % self._every and step != trainer.max_steps:
            return
        start, first = self._start
        records = (step - first) * training(module).batch_size
        speed = records / (time.perf_counter() - start)
        loss = training(module).metrics()["loss"]
        text = f"loss {loss:10.1f}  {speed:5.0f} samples/s"
        if self._progress is not None:
            self._progress.update(self._task, description=text)
        elif trainer.is_global_zero:
            logger.info("step %d/%d  %s", step, trainer.max_steps, text)

    def teardown(self, *_: Any, **__: Any) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
