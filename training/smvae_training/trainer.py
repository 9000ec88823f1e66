"""Data and settings -> a run folder. PyTorch Lightning does loop, devices and checkpoint."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningDataModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch.utils.data import DataLoader

from smvae_core.files import alone_in
from smvae_core.model.objective import Objective, elbo
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics
from smvae_datasets.dataset import Dataset
from smvae_datasets.sources import prepare_source
from smvae_datasets.splits import Split
from smvae_training.augmenter import Augmenter
from smvae_training.config import PAIRING, TrainConfig
from smvae_training.hardware import Hardware, choose_hardware, launcher
from smvae_training.heap import keep_memory
from smvae_training.layers import quicken
from smvae_training.processes import Processes
from smvae_training.resume import check_folder, check_same_labels, find_checkpoint
from smvae_training.run import (
    RunError,
    RunPaths,
    RunRecord,
    check_records,
    new_record,
    save_weights,
    split_episodes,
)
from smvae_training.steps.callbacks import (
    Checkpoint,
    MetricsFile,
    ShareCores,
    StepBar,
    StopOnInterrupt,
)
from smvae_training.steps.contexts import Contexts
from smvae_training.steps.data import (
    Batch,
    BatchOrder,
    StepStream,
    batch_order,
    fingerprint,
    loader,
)
from smvae_training.steps.decode_on import decoding_on
from smvae_training.steps.embedded import EmbeddedRecords
from smvae_training.steps.labelled import LabelledOrder, labelled_records, with_labelled
from smvae_training.steps.module import SMVAETraining
from smvae_training.steps.pairing import Pairing
from smvae_training.steps.self_supervised import with_self_supervised
from smvae_training.steps.targets import with_targets
from smvae_training.steps.validation import QuickElbo

logger = logging.getLogger(__name__)

Build = Callable[[TrainConfig], tuple[SMVAE, Objective]]


def build_smvae(config: TrainConfig) -> tuple[SMVAE, Objective]:
    """Return our model and the objective that it is trained by."""
    return SMVAE(config.model), elbo


class EpisodeData(LightningDataModule):
    """Hands Lightning the batches of each epoch, from the step where the trainer stands."""

    def __init__(
        self,
        episodes: Dataset,
        order: BatchOrder,
        config: TrainConfig,
        statistics: Mapping[str, Statistics],
        contexts: Contexts | None = None,
    ) -> None:
        super().__init__()
        self._episodes, self._order, self._config = episodes, order, config
        self._augmenter = (
            Augmenter(episodes, statistics, config.augment, order.seed)
            if config.augment.on
            else None
        )
        self._contexts = contexts
        self._pairing = None
        if PAIRING in config.data.self_supervised:
            self._pairing = Pairing(episodes, order.seed, self._augmenter)

    def train_dataloader(self) -> DataLoader[Batch]:
        trainer = self.trainer
        assert trainer is not None
        stream = StepStream(
            self._episodes,
            self._order,
            lambda: trainer.global_step,
            (trainer.global_rank, trainer.world_size),
            binarised_modalities(self._config),
            self._config.objective.target == "joint",
            self._augmenter,
            self._contexts,
            self._config.stages(self._order.steps_per_epoch),
            self._config.context.match_batches,
            [target.name for target in self._config.model.targets],
            self._pairing,
        )
        return loader(stream, self._config.hardware.workers, torch.cuda.is_available())


def remembered_contexts(
    config: TrainConfig, episodes: Dataset, order: BatchOrder
) -> Contexts | None:
    """Return what draws the contexts of a model with memory, None of one without.

    Raises:
        DataSetError: If records have no times.
    """
    memory = config.model.memory
    if memory is None:
        return None
    return Contexts(episodes, order.index, config.context, memory.horizon_s, order.seed)


def binarised_modalities(config: TrainConfig) -> tuple[str, ...]:
    """Return the modalities whose training pixels are drawn anew at every step."""
    if not config.data.binarised:
        return ()
    drawn = (m for m in config.model.modalities if m.is_image and m.likelihood == "bernoulli")
    return tuple(m.name for m in drawn)


def prepare_data(config: TrainConfig, data: Path | None) -> Dataset:
    """Return the records that a configuration names; `data` is where the user says they are."""
    return prepare_source(
        config.data.source,
        data,
        config.model.modalities,
        action=config.data.action,
        binarised=config.data.binarised,
    )


def train(
    config: TrainConfig,
    data: Path | None,
    out: Path,
    resume: bool = False,
    *,
    overwrite: bool = False,
    stop_after: int | None = None,
    callbacks: list[Callback] | None = None,
    build: Build = build_smvae,
    processes: Processes | None = None,
) -> Path:
    """Train on the records in `data` and return the run folder `out`.

    Args:
        config: All settings; see `presets`.
        data: Folder of the data set; image sets are looked for in the usual places without one.
        out: Run folder, made if missing.
        resume: Go on from the checkpoint in `out`, exactly as if the run had never stopped.
        overwrite: Throw away a run that is already in `out`.
        stop_after: Stop cleanly after this many steps of the whole run, as Ctrl-C would.
        callbacks: Further Lightning callbacks.
        build: Makes the model and its objective; the benchmarks' peers bring their own.
        processes: That share each batch; those that this one starts without.

    Raises:
        RunError: If `out` holds a run and neither `resume` nor `overwrite` is given, or a resume
            has nothing to continue, other data, or other settings.
        EpisodeError: If the episodes cannot be used.
        DataSetError: If training on the records cannot work.
        TrainingDiverged: If the loss or the model is not finite; no such checkpoint is written.
        KeyboardInterrupt: After Ctrl-C, once a checkpoint is written.
    """
    paths = RunPaths(Path(out))
    processes = processes or Processes.started_here(config)
    old = check_folder(paths, config, resume, overwrite, processes)
    episodes = prepare_data(config, data)
    place = str(data.absolute()) if data is not None else config.data.source
    return train_on(
        config, episodes, paths, old, place, stop_after, callbacks or [], build, processes
    )


def train_on(
    config: TrainConfig,
    episodes: Dataset,
    paths: RunPaths,
    old: RunRecord | None,
    data_path: str = "",
    stop_after: int | None = None,
    callbacks: list[Callback] | None = None,
    build: Build = build_smvae,
    processes: Processes | None = None,
) -> Path:
    """Train on prepared episodes in a folder that `check_folder` has accepted; see `train`."""
    if old is not None and fingerprint(episodes) != old.data_fingerprint:
        raise RunError(paths.root, f"was trained on other data, {old.data_path}: cannot resume")
    processes = processes or Processes.started_here(config)
    hardware = choose_hardware(config.hardware.precision, config.hardware.accelerator)
    logger.info(
        "training on %s in %s: %s", hardware.accelerator, hardware.precision, hardware.reason
    )
    _log_processes(processes)
    episodes = with_self_supervised(config, episodes)
    parts = split_episodes(config, episodes)
    config = with_targets(config, episodes, parts.train)
    if old is None and not processes.is_helper:
        check_records(config, episodes, parts.train)
    order = with_labelled(
        batch_order(parts.train, config.batch_size, config.seed),
        labelled_records(episodes, config.model.targets),
        config.data.labelled_share,
    )
    processes.check_batch(order.batch_size)
    contexts = remembered_contexts(config, episodes, order)
    stages = config.stages(order.steps_per_epoch)
    about = {
        "data_path": data_path,
        "total_steps": stages.total,
        "hardware": {"accelerator": hardware.accelerator, "precision": hardware.precision},
        "job": processes.job,
    }
    record = new_record(config, episodes, parts, about)
    start = None
    if old is not None:
        record, start = _resumed(record, old, paths, processes)
    with _alone(paths, processes):
        if not processes.is_helper:
            if old is None:
                paths.clear()  # only now: bad data or settings must not cost an older run
                paths.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            record.write(paths.config)
            _log_size(episodes, parts, order, record)
            _log_computed(config)
        keep_memory()
        stop = StopOnInterrupt(stop_after)
        records = EmbeddedRecords(episodes, parts.train, paths.root) if contexts else None
        session = _Session(config, paths, record, order, hardware, build, records, processes)
        data = EpisodeData(episodes, order, config, record.statistics, contexts)
        session.fit(data, episodes, parts, start, [*(callbacks or []), stop])
    if stop.interrupted and session.record.step < record.total_steps and stop_after is None:
        raise KeyboardInterrupt
    return paths.root


def _resumed(
    record: RunRecord, old: RunRecord, paths: RunPaths, processes: Processes
) -> tuple[RunRecord, Path]:
    """Return the record of a run that goes on, and the checkpoint that it goes on from.

    Raises:
        RunError: If its labels are others now, or it has no checkpoint.
    """
    check_same_labels(paths, old, record)
    found = find_checkpoint(paths)
    if found.passed_over and not processes.is_helper:
        logger.warning(
            "%s: resuming from %s of step %d", found.passed_over, found.path.name, found.step
        )
    record = replace(record, step=found.step, seconds=old.seconds, statistics=old.statistics)
    return record, found.path


@contextmanager
def _alone(paths: RunPaths, processes: Processes) -> Iterator[None]:
    """Be the only training that writes to a run; the others of one training follow its first."""
    if processes.is_helper:
        yield
        return
    paths.root.mkdir(parents=True, exist_ok=True)
    with alone_in(paths.root, partial(RunError, paths.root)):
        yield


def _log_processes(processes: Processes) -> None:
    if processes.is_helper:
        return
    size = processes.size
    if processes.starter != "self":
        logger.info("one of %d devices that %s started", size, processes.starter)
    elif told := launcher():
        logger.info(
            "%s of a job launcher is not followed: this process trains on %d device%s",
            told,
            size,
            "s, and starts those it needs" if size > 1 else "",
        )


def _log_size(episodes: Dataset, parts: Split, order: BatchOrder, record: RunRecord) -> None:
    logger.info(
        "%d records of %d groups: %d train, %d held out, %d validation; batch %d, %d steps",
        len(episodes),
        len(episodes.group_names),
        len(parts.train),
        len(parts.held_out),
        len(parts.validation),
        order.batch_size,
        record.total_steps - record.step,
    )
    if isinstance(order, LabelledOrder):
        logger.info("%s", order)
    if parts.leaks:
        logger.warning(
            "split by sample: neighbouring frames stand on both sides, scores will flatter"
        )


def _log_computed(config: TrainConfig) -> None:
    for target in config.model.targets:
        if target.rule:
            share = f"; in {target.mean[0]:.0%} of training records" if target.binary else ""
            logger.info("%s: %s%s", target.name, target.rule, share)


class _Session:
    """One call of Lightning's fit: model, trainer, and the record that follows it."""

    def __init__(
        self,
        config: TrainConfig,
        paths: RunPaths,
        record: RunRecord,
        order: BatchOrder,
        hardware: Hardware,
        build: Build,
        records: EmbeddedRecords | None,
        processes: Processes,
    ) -> None:
        self.config, self.paths, self.record = config, paths, record
        self.hardware, self._processes = hardware, processes
        self._start_seconds, self._start = record.seconds, time.perf_counter()
        torch.manual_seed(config.seed)
        model, objective = build(config)
        if hardware.accelerator == "cpu":
            quicken(model)
        if config.hardware.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module = SMVAETraining(
            model,
            record.statistics,
            config,
            config.stages(order.steps_per_epoch),
            order.batch_size,
            objective,
            records,
        )

    def saved(self, episodes: Dataset, train: NDArray[np.int64], step: int) -> None:
        """Keep weights.safetensors and config.json in step with the checkpoint.

        After the last step decoders of targets learn on. The checkpoint holds what they were.
        """
        model, steps = self.module.best_model, round(self.config.data.decode_on * step)
        last = step == self.record.total_steps
        if last and steps and self.config.model.targets and self.config.model.memory is None:
            normaliser = self.module.normaliser
            model = decoding_on(model, normaliser, episodes, train, steps, self.config.seed)
        save_weights(model, self.paths.weights)
        seconds = self._start_seconds + time.perf_counter() - self._start
        self.record = replace(self.record, step=step, seconds=seconds)
        self.record.write(self.paths.config)

    def fit(
        self,
        data: EpisodeData,
        episodes: Dataset,
        parts: Split,
        checkpoint: Path | None,
        callbacks: list[Callback],
    ) -> None:
        log = self.config.log
        metrics = MetricsFile(self.paths.metrics, log.every)
        # Lightning keeps the order but for its own checkpoint class: what is saved comes last.
        callbacks = [ShareCores(), metrics, StepBar(log.every), *callbacks]
        if log.validate_every:
            callbacks.append(QuickElbo(episodes, parts.validation, self.config, metrics))
        saved = partial(self.saved, episodes, parts.train)
        callbacks.append(Checkpoint(self.paths, log.checkpoint_every, saved))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*`IterableDataset` has `__len__`.*")
            warnings.filterwarnings("ignore", ".*GPU available but not used.*")
            warnings.filterwarnings("ignore", ".*mid-epoch.*")
            warnings.filterwarnings("ignore", ".*LeafSpec.*")
            self._start = time.perf_counter()
            trainer = self._trainer(callbacks)
            done = self.record.step == self.record.total_steps
            trainer.fit(self.module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        if done and trainer.is_global_zero:  # no step was left, so nothing was saved
            saved(self.record.step)

    def _trainer(self, callbacks: list[Callback]) -> Trainer:
        config = self.config
        board = config.log.tensorboard and TensorBoardLogger(
            self.paths.root, name=self.paths.tensorboard.name, version=""
        )
        if self._processes.size == 1:
            # Lightning takes it from any launcher's variables, at import
            rank_zero_only.rank = 0  # type: ignore[attr-defined]
        return Trainer(
            **self._processes.trainer_arguments(),
            accelerator=self.hardware.accelerator,
            precision=self.hardware.lightning_precision,
            max_steps=self.record.total_steps,
            max_epochs=-1,
            gradient_clip_val=config.optimizer.clip or None,
            callbacks=callbacks,
            logger=board,
            default_root_dir=self.paths.root,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
        )
