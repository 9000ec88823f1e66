"""Runs that a benchmark is given, or has trained before: whether they are what it would train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smvae_training.config import TrainConfig
from smvae_training.resume import CHANGEABLE, changed_settings
from smvae_training.run import RunError


def check_settings(
    path: Path, found: TrainConfig, wanted: TrainConfig, hint: str, but: Sequence[str] = ()
) -> None:
    """Refuse a finished run that was trained otherwise.

    Args:
        path: Of the run.
        found: Its settings.
        wanted: Those of the benchmark.
        hint: What would be right.
        but: What may differ, beside what changes nothing that is learned.

    Raises:
        RunError: Names each setting that differs, with both values.
    """
    if what := changed_settings(found, wanted, (*CHANGEABLE, *but)):
        raise RunError(path, f"is finished, with other settings: {what}. {hint}")
