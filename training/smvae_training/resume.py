"""Whether a run folder may be written, continued or replaced; nothing is changed here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smvae_core.errors import option
from smvae_core.target import DecodedTarget
from smvae_training.config import TrainConfig
from smvae_training.processes import Processes
from smvae_training.run import RunError, RunPaths, RunRecord

logger = logging.getLogger(__name__)

#: Settings that a resumed run may change; they do not change what is learned (but for rounding).
CHANGEABLE = ("hardware", "log")
#: A target's mean or deviation that moved by more than this share of the deviation is of other
#: labels. Less is what rounding does, on another machine too.
MOVED = 1e-6


def check_folder(
    paths: RunPaths,
    config: TrainConfig,
    resume: bool,
    overwrite: bool,
    processes: Processes | None = None,
) -> RunRecord | None:
    """Return the record of the run to continue, or None for a new run; writes nothing yet.

    A job that starts its processes again, see `Processes.job`, goes on with what it began.
    """
    processes = processes or Processes.started_here(config)
    if processes.job and _job_of(paths) == processes.job:
        resume, overwrite = paths.begun, False
    if processes.is_helper:  # the first one has checked, and may have begun to write
        if not resume or not paths.config.is_file():
            return None
        record = RunRecord.read(paths.config)
        return record if paths.begun or record.step else None
    exists = paths.config.is_file()
    if resume and overwrite:
        raise RunError(paths.root, "--resume and --overwrite contradict each other")
    if resume:
        record = RunRecord.read(paths.config)
        _check_same_settings(paths, record.config, config)
        if not paths.begun and record.step == 0:
            logger.warning("run %s: no checkpoint yet, starting at step 0", paths.root)
            return None
        find_checkpoint(paths)
        return record
    if exists and not overwrite:
        record = RunRecord.read(paths.config)
        if not paths.begun and record.step == 0:
            # nothing is lost by it
            logger.warning("run %s ended before its first checkpoint: it begins anew", paths.root)
            return None
        state = f"holds a run of {record.step} of {record.total_steps} steps"
        raise RunError(
            paths.root, f"{state}: continue it with --resume or replace it with --overwrite"
        )
    place = next(p for p in (paths.root, *paths.root.parents) if p.exists())
    if not place.is_dir():
        raise RunError(paths.root, f"{place} is a file: choose another --out")
    if not exists and paths.root.is_dir() and any(paths.root.iterdir()):
        raise RunError(paths.root, "the folder is not empty and holds no run; choose another --out")
    return None


def _job_of(paths: RunPaths) -> str:
    """Return the job that began the run in the folder, or an empty string."""
    return RunRecord.read(paths.config).job if paths.config.is_file() else ""


@dataclass(frozen=True)
class Found:
    """The checkpoint that a run goes on from."""

    path: Path
    step: int
    passed_over: str
    """Why it is not the newest; empty if it is."""


def find_checkpoint(paths: RunPaths) -> Found:
    """Return the newest checkpoint that can be read and is finite.

    Raises:
        RunError: If there is none.
    """
    faults: list[str] = []
    for path in (paths.checkpoint, paths.previous):
        step = _step_of(path)
        if isinstance(step, int):
            return Found(path, step, "; ".join(faults))
        faults.append(f"{path.relative_to(paths.root)} {step}")
    raise RunError(
        paths.root,
        f"nothing to resume from: {'; '.join(faults)}. Train anew with --overwrite or another "
        "--out; weights.safetensors, if it is there, can still be evaluated and exported",
    )


def _step_of(path: Path) -> int | str:
    """Return the number of steps that a checkpoint has taken, or in words why it is of no use."""
    if not path.is_file():
        return "is missing"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        step, learned = content["global_step"], (content["state_dict"], content["optimizer_states"])
    except Exception as err:  # whatever a damaged file makes of an unpickler
        return f"is damaged ({type(err).__name__}, {path.stat().st_size} bytes)"
    if not all(torch.isfinite(tensor).all() for tensor in _tensors(learned)):
        return "holds numbers that are not finite"
    return int(step)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        parts: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for part in parts:
            yield from _tensors(part)


def _check_same_settings(paths: RunPaths, old: TrainConfig, new: TrainConfig) -> None:
    """Refuse a resume whose result would not be that of the run."""
    prolongable = old.optimizer.schedule == "constant" and old.annealing == new.annealing == 0
    allowed = (*CHANGEABLE, "max_steps", "epochs") if prolongable else CHANGEABLE
    if what := changed_settings(old, new, allowed):
        raise RunError(
            paths.root,
            f"a resume cannot change {what}. Start another run with --out or --overwrite",
        )


def changed_settings(old: TrainConfig, new: TrainConfig, but: Sequence[str] = CHANGEABLE) -> str:
    """Return in words which settings differ, but for those in `but`; an empty string if none."""
    before, after = old.to_json(), new.to_json()
    for settings in (before, after):
        settings["model"].pop("targets")  # of the training records, by data.targets
    changed = [k for k in before if k not in but and before[k] != after[k]]
    return ", ".join(_difference(k, before[k], after[k]) for k in changed)


def _difference(name: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict) and name != "objective.weights":
        changed = [k for k in new if old.get(k) != new[k]]
        return ", ".join(_difference(f"{name}.{k}", old.get(k), new[k]) for k in changed)
    return f"{option(name)} {old} -> {new}"


def check_same_labels(paths: RunPaths, old: RunRecord, new: RunRecord) -> None:
    """Refuse to resume a run where a recorded target that it decodes says something else now.

    Compared are names, means and deviations over the training records, which every run has kept,
    and how many records tell, which older runs have not.

    Raises:
        RunError: Names the first target that differs, and how.
    """
    before, now = (
        {t.name: t for t in record.config.model.targets if not t.rule} for record in (old, new)
    )
    for name in {**before, **now}:
        if what := _changed(name, before, now) or _recounted(name, old.labelled, new.labelled):
            raise RunError(
                paths.root,
                f"was trained on other labels: target '{name}' {what}. Resume with the labels that "
                "it began with, or start another run with --out or --overwrite",
            )


def _changed(
    name: str, before: Mapping[str, DecodedTarget], now: Mapping[str, DecodedTarget]
) -> str:
    """Return in words how a target differs, or an empty string."""
    if name not in before or name not in now:
        return "is gone" if name in before else "is new"
    old, new = before[name], now[name]
    if old.size != new.size:
        return f"had {old.size} numbers, has {new.size}"
    for what, then, found in (
        ("mean", old.mean, new.mean),
        ("deviation", old.deviation, new.deviation),
    ):
        if (np.abs(np.subtract(found, then)) > MOVED * np.array(old.deviation)).any():
            return f"had {what} {_spelled(then)} over the training records, has {_spelled(found)}"
    return ""


def _recounted(name: str, before: Mapping[str, int], now: Mapping[str, int]) -> str:
    if name not in before or before[name] == now[name]:
        return ""
    return f"was told by {before[name]} training records, is told by {now[name]}"


def _spelled(numbers: Sequence[float]) -> str:
    return "(" + ", ".join(f"{x:.9g}" for x in numbers) + ")"
