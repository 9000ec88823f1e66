"""From a process's start to its first shuffled batch; `python -m ... FOLDER` prints the phases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

#: When the process was asked for, on the clock that all processes share.
ASKED = "SMVAE_ASKED_S"


class FirstBatch:
    """A turn is a new process; `code` instead of ours says what it runs."""

    def __init__(self, folder: str, batch: int, code: str = "") -> None:
        self.folder = Path(folder)
        self.command = [sys.executable, "-c", code]
        if not code:
            self.command = [sys.executable, "-m", __name__, folder, str(batch)]
        self.about: dict[str, Any] = {}

    def begin(self) -> None:
        """Drop what is prepared from the system's memory: it is read from the disk."""
        from benchmarks.data_speed.inputs import forget

        self.about["bytes"] = forget(self.folder / ".prepared")

    def turn(self) -> dict[str, Any]:
        now = f"{time.perf_counter()}"
        said = subprocess.run(
            self.command, env={**os.environ, ASKED: now}, capture_output=True, check=True, text=True
        )
        return dict(json.loads(said.stdout.splitlines()[-1]))


def main() -> None:
    """Read the first batch as `smvae train` does."""
    asked = float(os.environ[ASKED])
    phases = {"started": time.perf_counter() - asked}

    def done(phase: str) -> None:
        phases[phase] = time.perf_counter() - asked - sum(phases.values())

    import torch  # noqa: F401 (its own share)

    done("torch")
    from smvae_core.presets import VISION_TOUCH
    from smvae_datasets.sources import prepare_source
    from smvae_datasets.splits import split
    from smvae_training.steps.data import StepStream, batch_order, loader

    done("our_modules")
    data = prepare_source("episodes", Path(sys.argv[1]), VISION_TOUCH, progress=False)
    done("opened")
    order = batch_order(split(data.group).train, int(sys.argv[2]), 0)
    batch = next(iter(loader(StepStream(data, order, lambda: 0), 0, False)))
    done("batch")
    about = {"records": len(data), "batch": len(batch.recorded)}
    print(json.dumps({"phases_s": phases, "process_s": time.process_time(), **about}))


if __name__ == "__main__":
    main()
