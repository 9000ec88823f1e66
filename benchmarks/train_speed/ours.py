"""Our trainer as `smvae train` runs it, logs and all; only checkpoints lie outside of a turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

from benchmarks.paper.variants import METHODS
from benchmarks.train_speed.networks import settings
from benchmarks.train_speed.paced import Paced
from smvae_core.model.config import ModelConfig
from smvae_training.hardware import Precision, choose_hardware
from smvae_training.run import RunPaths
from smvae_training.trainer import prepare_data, train_on


class OurTrainer:
    """Turns of our training on a folder of episodes."""

    def __init__(
        self,
        folder: str,
        objective: str,
        precision: Precision,
        steps: int,
        model: ModelConfig | None = None,
    ) -> None:
        config = settings(objective, precision)
        if model is not None:
            config = replace(config, model=model)
        self.config, self.folder, self.steps = config, Path(folder), steps
        self.paced = Paced(self._train, steps)
        chosen = choose_hardware(precision, config.hardware.accelerator).precision
        self.about = {"precision": chosen, "passes": METHODS["smvae"].passes(config)}

    def _train(self, stepped: Callable[[], None]) -> None:
        data = prepare_data(self.config, self.folder)
        with tempfile.TemporaryDirectory() as run:
            train_on(self.config, data, RunPaths(Path(run)), None, callbacks=[_Stepped(stepped)])

    def turn(self) -> dict[str, Any]:
        self.paced.turn()
        return {"samples": self.steps * self.config.batch_size, "gflop_per_step": self.paced.gflop}


class _Stepped(Callback):
    def __init__(self, stepped: Callable[[], None]) -> None:
        self._stepped = stepped

    def on_train_batch_end(self, *_: Any) -> None:
        self._stepped()
