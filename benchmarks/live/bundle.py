"""A bundle to measure with: preset vision_touch, trained for a few steps, calibrated for novelty.

How accurate it is does not matter; that it does all that a trained one does, does.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: Enough for every subset to be calibrated.
EPISODES, STEPS = 6, 100


def calibrated(folder: Path) -> tuple[Path, Path]:
    """Simulate, train for four steps and export below a folder; return the bundle and its run."""
    episodes, run, bundle = folder / "episodes", folder / "run", folder / "bundle"
    _smvae("simulate", episodes, "--episodes", EPISODES, "--steps", STEPS)
    _smvae("train", "--data", episodes, "--out", run, "--max-steps", 4, "--no-report")
    _smvae("export", run, bundle)
    return bundle, run


def _smvae(*words: object) -> None:
    command = [str(Path(sys.executable).parent / "smvae"), *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
