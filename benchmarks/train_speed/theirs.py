"""MultiVae's own trainer on its own models, around our networks and likelihoods.

Its models encode a modality once for each subset that they need, as the library does; what
`benchmarks.peers` spares them for our trainer is off here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers import build
from benchmarks.peers.library import (
    MVAE,
    BaseTrainer,
    BaseTrainerConfig,
    MultimodalBaseDataset,
    TrainingCallback,
)
from benchmarks.train_speed.networks import settings
from benchmarks.train_speed.paced import Paced
from smvae_core.model.config import ModelConfig
from smvae_core.preprocessing import measure_statistics
from smvae_training.hardware import Precision
from smvae_training.steps.normalise import BatchNormaliser
from smvae_training.trainer import prepare_data


class MultiVaeTrainer:
    """Turns of `BaseTrainer.train` on records in memory, normalised before."""

    def __init__(
        self,
        folder: str,
        method: str,
        precision: Precision,
        steps: int,
        model: ModelConfig | None = None,
    ) -> None:
        """Make the trainer.

        Args:
            folder: Episodes.
            method: 'mvae', with its sub-sampling; 'mvae-joint' without; 'mopoe'.
            precision: 'bf16' puts autocast around the model's forward; the trainer itself has
                float32 alone.
            steps: Of a turn.
            model: Other networks than those of `networks.settings`.
        """
        config = settings("observed", "32")
        config = config if model is None else replace(config, model=model)
        data = prepare_data(config, Path(folder))
        arrays = {m.name: np.array(data.arrays[m.name]) for m in data.sensors}
        statistics = {m.name: measure_statistics(m, arrays[m.name]) for m in data.sensors}
        normalise = BatchNormaliser(data.sensors, statistics)
        torch.manual_seed(0)
        peer: Any = build(method.partition("-")[0])(config)[0]
        library = peer.library
        if isinstance(library, MVAE):
            library.subsampling = method == "mvae"
        if precision == "bf16":
            _autocast(library)
        peer.set_weights({m.name: config.objective.weight(m, data.sensors) for m in data.sensors})
        self.steps, self.batch = steps, config.batch_size
        self._library = library
        normalised = normalise({name: torch.from_numpy(x) for name, x in arrays.items()})
        self._data = MultimodalBaseDataset(normalised)
        self.paced = Paced(self._train, steps)
        self.about = {"precision": precision, "method": method}

    def _train(self, stepped: Callable[[], None]) -> None:
        with tempfile.TemporaryDirectory() as out:
            trainer = BaseTrainer(
                self._library,
                train_dataset=self._data,
                training_config=BaseTrainerConfig(
                    num_epochs=10**6,
                    per_device_train_batch_size=self.batch,
                    learning_rate=1e-3,
                    output_dir=out,
                    no_cuda=True,
                    drop_last=True,
                ),
                callbacks=[_stepping(stepped)],
            )
            trainer.train()

    def turn(self) -> dict[str, Any]:
        self.paced.turn()
        return {"samples": self.steps * self.batch, "gflop_per_step": self.paced.gflop}


def _autocast(model: Any) -> None:
    forward = model.forward

    def under_autocast(*arguments: Any, **more: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return forward(*arguments, **more)

    model.forward = under_autocast


def _stepping(stepped: Callable[[], None]) -> Any:
    class Stepping(TrainingCallback):
        def on_train_step_end(self, *_: Any, **__: Any) -> None:
            stepped()

    return Stepping()
