"""One (data set, method, seed): tune the learning rate, train, score; every part is resumed.

Numbers go to `benchmarks/results/EXPERIMENT.METHOD.seedN.json`, per-item values for paired
differences to the `.npz` beside it. Run folders, with the weights, stay outside of git.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.paper.device import choose_device
from benchmarks.paper.experiments import LEARNING_RATES, TUNING_SHARE, Experiment
from benchmarks.paper.scores import Scored, score, validation_score
from benchmarks.paper.variants import Variant
from smvae_core.errors import ConfigError
from smvae_core.files import write_text
from smvae_training.config import TrainConfig
from smvae_training.evaluate.likelihood.method import Method, SMVAEMethod
from smvae_training.hardware import source_version, versions
from smvae_training.run import RunPaths, RunRecord, load_weights, split_episodes, write_arrays
from smvae_training.steps.module import TrainingDiverged
from smvae_training.trainer import prepare_data, train

logger = logging.getLogger(__name__)

FORMAT = 1
RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Job:
    """One run of the queue."""

    experiment: Experiment
    method: Variant
    seed: int
    runs: Path
    """Folder of all run folders."""
    data: Path | None = None
    """Folder of the data set, where it is not found by itself."""
    results: Path = RESULTS

    @property
    def name(self) -> str:
        return f"{self.experiment.name}.{self.method.name}.seed{self.seed}"

    @property
    def result(self) -> Path:
        return self.results / f"{self.name}.json"

    @property
    def tuning(self) -> Path:
        """The chosen learning rate, shared by the seeds of a method."""
        return self._folder("tuning.json")

    @property
    def done(self) -> bool:
        return self.result.is_file()

    @property
    def tuned(self) -> bool:
        """Whether the learning rate is known: chosen for the experiment, or by `tune`."""
        return self.experiment.learning_rate is not None or self.tuning.is_file()

    def work(self) -> None:
        """Do what is not done yet, and write the result."""
        config, record, diverged = self._train_best(self.tune())
        records = prepare_data(config, self.data)
        parts = split_episodes(config, records)
        method = self._load(config, self._part(config.optimizer.lr))
        folder = self.runs / self.experiment.name
        scored = score(self.experiment, method, record.statistics, records, parts, folder)
        self._write(config, record, scored, diverged)

    def tune(self) -> list[float]:
        """Return the learning rates, best score on validation records first, at seed 0.

        Each candidate trains for a tenth of the steps, with a complete schedule of its own.
        """
        if self.experiment.learning_rate is not None:
            return [self.experiment.learning_rate]
        if self.tuning.is_file():
            return _best_first(json.loads(self.tuning.read_text(encoding="utf-8"))["scores"])
        scores: dict[str, float | None] = {}
        started = time.perf_counter()
        for lr in LEARNING_RATES:
            scores[f"{lr:g}"] = self._try(lr)
        order = _best_first(scores)
        about = {
            "format": FORMAT,
            "experiment": self.experiment.name,
            "method": self.method.name,
            "share_of_budget": TUNING_SHARE,
            "scores": scores,
            "chosen": order[0],
            "seconds": round(time.perf_counter() - started),
        }
        write_text(self.tuning, json.dumps(about, indent=1) + "\n")
        return order

    def _train_best(self, order: list[float]) -> tuple[TrainConfig, RunRecord, dict[str, str]]:
        """Train at the best learning rate; if that diverges over the whole budget, at the next.

        Returns the settings, what was trained, and by learning rate how the others diverged.

        Raises:
            ConfigError: If it diverges at all of them.
        """
        diverged: dict[str, str] = {}
        for lr in order:
            config = self.experiment.config(self.method, seed=self.seed, lr=lr)
            mark = self._folder(self._part(lr)) / "diverged.txt"
            if not mark.is_file():
                try:
                    return config, self._train(config, self._part(lr)), diverged
                except TrainingDiverged as err:
                    write_text(mark, f"{err}\n")
            diverged[f"{lr:g}"] = mark.read_text(encoding="utf-8").strip()
            logger.warning("%s: learning rate %g: %s", self.name, lr, diverged[f"{lr:g}"])
        raise ConfigError(f"{self.name}: training diverged at every learning rate: {diverged}")

    def _part(self, lr: float) -> str:
        return f"seed{self.seed}-lr{lr:g}"

    def _try(self, lr: float) -> float | None:
        """Return the score of a learning rate, None where training diverges."""
        config = self.experiment.config(self.method, seed=0, lr=lr)
        records = prepare_data(config, self.data)
        parts = split_episodes(config, records)
        steps = config.stages(len(parts.train) // config.batch_size).total
        config = replace(config, max_steps=max(1, round(steps * TUNING_SHARE)))
        try:
            record = self._train(config, f"tuning-lr{lr:g}")
        except TrainingDiverged as err:
            logger.warning("%s: learning rate %g: %s", self.name, lr, err)
            return None
        method = self._load(config, f"tuning-lr{lr:g}")
        found = validation_score(
            self.experiment, method, record.statistics, records, parts.validation
        )
        logger.info("%s: learning rate %g gives %.2f", self.name, lr, found)
        return found

    def _train(self, config: TrainConfig, part: str) -> RunRecord:
        """Train, or go on from the last checkpoint, or do nothing if it is finished."""
        paths = RunPaths(self._folder(part))
        exists = paths.config.is_file()
        begun = exists and paths.begun
        if not begun or not RunRecord.read(paths.config).finished:
            logger.info("%s: training %s", self.name, part)
            build = self.method.build()
            overwrite = exists and not begun
            train(config, self.data, paths.root, begun, overwrite=overwrite, build=build)
        return RunRecord.read(paths.config)

    def _load(self, config: TrainConfig, part: str) -> Method:
        """Return the trained model, ready to be scored."""
        model, _ = self.method.build()(config)
        load_weights(model, self._folder(part))
        model = model.eval().to(choose_device())
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.method.peer:
            peer: Method = model
            return peer
        return SMVAEMethod(model, self.method.name)

    def _folder(self, part: str) -> Path:
        return self.runs / self.experiment.name / self.method.name / part

    def _write(
        self, config: TrainConfig, record: RunRecord, scored: Scored, diverged: dict[str, str]
    ) -> None:
        about: dict[str, Any] = {
            "format": FORMAT,
            "experiment": self.experiment.name,
            "method": self.method.name,
            "seed": self.seed,
            "code": source_version(),
            "versions": versions(),
            "hardware": record.hardware,
            "budget": {
                "steps": record.step,
                "batch_size": config.batch_size,
                "epochs": config.epochs,
                "lr": config.optimizer.lr,
                "diverged": diverged,
                "training_seconds": round(record.seconds),
                "passes": self.method.passes(config),
            },
            "model": {
                "pooling": config.model.pooling,
                "covariance": config.model.covariance,
                "target": config.objective.target,
                "complement": config.objective.complement,
            }
            if not self.method.peer
            else {},
            "decoded_noise": config.model.decoded_noise,
            "noise_scale": scored.noise_scale,
            "scores": scored.numbers,
        }
        save_items(self.result.with_suffix(".npz"), scored.items)
        write_text(self.result, json.dumps(about, indent=1, allow_nan=False) + "\n")
        logger.info("%s: written", self.result)


def _best_first(scores: Mapping[str, float | None]) -> list[float]:
    """Return learning rates by falling score; those that diverged, None, come last."""
    return sorted(map(float, scores), key=lambda lr: -_finite(scores[f"{lr:g}"]))


def _finite(score: float | None) -> float:
    return score if score is not None and math.isfinite(score) else -math.inf


def save_items(path: Path, items: dict[str, NDArray[Any]]) -> None:
    """Write per-item values as float32; a thousandth of a nat is enough for a difference."""
    small = {
        k: np.asarray(v, np.float32 if v.dtype.kind == "f" else v.dtype) for k, v in items.items()
    }
    write_arrays(path, small, compressed=True)
