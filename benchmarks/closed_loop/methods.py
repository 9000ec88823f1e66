"""Methods by name: those of the simulation, and learned baselines."""

from __future__ import annotations

from pathlib import Path

from benchmarks.closed_loop.baselines.trained import Supervision, identity_of_runs
from benchmarks.closed_loop.store import identity_of_bundle
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
    """Return the hash of what a method perceives by, see `make`."""
    if not (folder / MANIFEST).is_file():
        return identity_of_runs(folder)
    return identity_of_bundle(Bundle.load(folder))
