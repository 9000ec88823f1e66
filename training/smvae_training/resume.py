"""Whether a run folder may be written, continued or replaced; nothing is changed here."""

from __future__ import annotations

import os
from typing import Any

from smvae_training.config import TrainConfig
from smvae_training.run import RunError, RunPaths, RunRecord

#: Settings that a resumed run may change; they do not change what is learned (but for rounding).
CHANGEABLE = ("hardware", "log")


def is_helper() -> bool:
    """Return whether Lightning started this process as a further device of a DDP run."""
    return int(os.environ.get("LOCAL_RANK", "0")) > 0


def check_folder(
    paths: RunPaths, config: TrainConfig, resume: bool, overwrite: bool
) -> RunRecord | None:
    """Return the record of the run to continue, or None for a new run; writes nothing yet."""
    if is_helper():  # rank zero has checked, and may have begun to write
        return RunRecord.read(paths.config) if resume else None
    exists = paths.config.is_file()
    if resume and overwrite:
        raise RunError(paths.root, "--resume and --overwrite contradict each other")
    if resume:
        record = RunRecord.read(paths.config)
        if not paths.checkpoint.is_file():
            raise RunError(paths.root, "no checkpoints/last.ckpt to resume from; use --overwrite")
        _check_same_settings(paths, record.config, config)
        return record
    if exists and not overwrite:
        record = RunRecord.read(paths.config)
        state = f"holds a run of {record.step} of {record.total_steps} steps"
        raise RunError(
            paths.root, f"{state}: continue it with --resume or replace it with --overwrite"
        )
    if not exists and paths.root.is_dir() and any(paths.root.iterdir()):
        raise RunError(paths.root, "the folder is not empty and holds no run; choose another --out")
    return None


def _check_same_settings(paths: RunPaths, old: TrainConfig, new: TrainConfig) -> None:
    """Refuse a resume whose result would not be that of the run."""
    prolongable = old.optimizer.schedule == "constant" and old.annealing == new.annealing == 0
    allowed = (*CHANGEABLE, "max_steps", "epochs") if prolongable else CHANGEABLE
    before, after = old.to_json(), new.to_json()
    changed = [k for k in before if k not in allowed and before[k] != after[k]]
    if changed:
        what = "; ".join(f"{k}: {_difference(before[k], after[k])}" for k in changed)
        raise RunError(
            paths.root,
            f"a resume cannot change {what}. Start another run with --out or --overwrite",
        )


def _difference(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        return ", ".join(f"{k} {old.get(k)} -> {new.get(k)}" for k in new if old.get(k) != new[k])
    return f"{old} -> {new}"
