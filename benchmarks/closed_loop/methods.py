"""Methods by name: those of the simulation, and learned baselines."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from benchmarks.closed_loop.baselines.trained import Supervision, identity_of_runs
from smvae_core.bundle import MANIFEST, Bundle
from smvae_datasets.simulation.closed_loop import methods
from smvae_datasets.simulation.closed_loop.methods import Method


def make(
    name: str, folder: Path | None, *, leave_out: bool = True, memory_s: float | None = None
) -> Method:
    """Return the method called `name`: alone, blind, ceiling, or any other of a folder.

    Args:
        name: Of the method.
        folder: A bundle, or what `benchmarks.closed_loop.train` made of a baseline.
        leave_out: Whether latents are made without suspects.
        memory_s: How far back a bundle's latents remember [s]; None = as the node by default.
    """
    if folder is None or (folder / MANIFEST).is_file():
        return methods.make(name, folder, leave_out=leave_out, memory_s=memory_s)
    return Supervision(folder)


def identity(folder: Path) -> str:
    """Return the hash of what a method perceives by, see `make`.

    Of a bundle whatever the time of its export, so that one that is made again goes on.
    """
    if not (folder / MANIFEST).is_file():
        return identity_of_runs(folder)
    manifest = replace(Bundle.load(folder).manifest, created="")
    return hashlib.sha256(json.dumps(manifest.to_json(), sort_keys=True).encode()).hexdigest()
