"""A quick ELBO on the validation share while training: same records and same draws every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer

from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE
from smvae_datasets.dataset import Dataset
from smvae_training.config import TrainConfig
from smvae_training.steps.callbacks import MetricsFile, training
from smvae_training.steps.data import gather


class QuickElbo(Callback):
    """Every n steps, the unweighted ELBO at beta 1 with all that was recorded observed."""

    def __init__(
        self,
        episodes: Dataset,
        validation: NDArray[np.int64],
        config: TrainConfig,
        metrics: MetricsFile,
    ) -> None:
        """Choose the records, spread evenly over the validation share."""
        count = min(config.log.validate_records, len(validation))
        rows = np.linspace(0, len(validation) - 1, count).astype(np.int64)
        chosen = validation[np.unique(rows)]
        self._prepared = gather(episodes.arrays, chosen)
        self._recorded = torch.from_numpy(episodes.recorded[chosen])
        self._every = config.log.validate_every
        self._metrics = metrics

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step % self._every and step != trainer.max_steps:
            return
        row: dict[str, Any] = {"step": step}
        if trainer.is_global_zero:
            row |= self.measure(training(module).best_model, module)
        self._metrics.append(trainer, row)

    @torch.no_grad()
    def measure(self, model: SMVAE, module: LightningModule) -> dict[str, float]:
        """Return ELBO, KL and log likelihoods in nats per record."""
        device = module.device
        inputs = training(module).normaliser({k: v.to(device) for k, v in self._prepared.items()})
        recorded = self._recorded.to(device)
        was_training = model.training
        model.eval()
        draws = torch.Generator(device).manual_seed(0)
        terms = training(module).objective(
            model, inputs, recorded, recorded, 1.0, ObjectiveConfig(), draws
        )
        model.train(was_training)
        values = {"validation/elbo": float(terms.elbo), "validation/kl": float(terms.kl)}
        likelihoods = terms.log_likelihood.items()
        return values | {f"validation/log_likelihood/{k}": float(v) for k, v in likelihoods}
