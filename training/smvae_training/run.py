"""A run folder: config.json, weights.safetensors, checkpoints/, metrics.jsonl, tensorboard/.

config.json and weights.safetensors are enough to rebuild the model and the split; nothing in the
folder is pickled code.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from smvae_core.errors import ConfigError, SMVAEError
from smvae_core.files import write_bytes, write_text
from smvae_core.model.config import ModelConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics, measure_statistics
from smvae_core.what_is import what_is
from smvae_datasets.checks import check_dataset
from smvae_datasets.dataset import Dataset, DataSetError, holding
from smvae_datasets.splits import Split, split
from smvae_training.config import TrainConfig
from smvae_training.hardware import versions
from smvae_training.steps.data import fingerprint

logger = logging.getLogger(__name__)

FORMAT = 1


class RunError(SMVAEError, ValueError):
    """A run folder that cannot be used as asked."""

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(f"run {path}: {what}")


@dataclass(frozen=True)
class RunPaths:
    """Where everything of a run lies."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def weights(self) -> Path:
        return self.root / "weights.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoints" / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before the last."""
        return self.checkpoint.with_name("previous.ckpt")

    @property
    def begun(self) -> bool:
        """Whether there is any checkpoint."""
        return self.checkpoint.exists() or self.previous.exists()

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    def clear(self) -> None:
        """Remove what a run wrote, and nothing else in the folder."""
        for path in (self.config, self.weights, self.metrics):
            path.unlink(missing_ok=True)
        for folder in (self.checkpoint.parent, self.tensorboard, self.evaluation):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What config.json holds."""

    config: TrainConfig
    statistics: dict[str, Statistics]
    train_trajectories: tuple[str, ...]
    held_out_trajectories: tuple[str, ...]
    validation_trajectories: tuple[str, ...]
    data_path: str
    data_fingerprint: str
    data_steps: int
    labelled: dict[str, int] = field(default_factory=dict)
    """By recorded target that is decoded, how many training records tell it; empty of runs from
    before it was kept."""
    step: int = 0
    """Steps taken."""
    total_steps: int = 0
    versions: dict[str, str] = field(default_factory=versions)
    hardware: dict[str, str] = field(default_factory=dict)
    job: str = ""
    """Of several processes that it was last trained by, see `Processes.job`."""
    seconds: float = 0.0
    """Time spent in steps, over all sessions of the run."""

    @property
    def finished(self) -> bool:
        return 0 < self.total_steps <= self.step

    def to_json(self) -> dict[str, Any]:
        data = {k: getattr(self, k) for k in self.__dataclass_fields__}
        data["config"] = self.config.to_json()
        data["statistics"] = {k: s.to_json() for k, s in self.statistics.items()}
        return {"format": FORMAT} | data

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read config.json.

        Raises:
            RunError: If it is missing, damaged, or of another format.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as err:
            what = "no config.json: expected a folder that `smvae train` wrote"
            raise RunError(path.parent, f"{what}, got {what_is(path.parent)}") from err
        except ValueError as err:
            raise RunError(path.parent, f"config.json is damaged: {err}") from err
        found = data.pop("format", None) if isinstance(data, dict) else None
        if found != FORMAT:
            raise RunError(path.parent, f"config.json: expected format {FORMAT}, got {found}")
        try:
            data["config"] = TrainConfig.from_json(data["config"])
            data["statistics"] = {k: Statistics.from_json(s) for k, s in data["statistics"].items()}
            for name in ("train", "held_out", "validation"):
                data[f"{name}_trajectories"] = tuple(data[f"{name}_trajectories"])
            return cls(**data)
        except (TypeError, KeyError) as err:
            raise RunError(path.parent, f"config.json of another version: {err}") from err

    def write(self, path: Path) -> None:
        write_text(path, json.dumps(self.to_json(), indent=1) + "\n")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trained model with all that is needed to use it."""

    path: Path
    model: SMVAE
    """In evaluation mode, on the CPU; the averaged weights where the run kept an average."""
    record: RunRecord

    @property
    def config(self) -> TrainConfig:
        return self.record.config

    @property
    def model_config(self) -> ModelConfig:
        return self.record.config.model

    @property
    def statistics(self) -> dict[str, Statistics]:
        return self.record.statistics

    def split(self, episodes: Dataset) -> Split:
        """Return the run's split of the data that it was trained on.

        Raises:
            RunError: If these are other data.
        """
        found = fingerprint(episodes)
        if found != self.record.data_fingerprint:
            raise RunError(
                self.path,
                f"was trained on other data: expected the {self.record.data_steps} steps of "
                f"{self.record.data_path}, got {len(episodes)} steps in {episodes.path}",
            )
        return split_episodes(self.config, episodes)


def load_run(path: Path | str) -> Run:
    """Load a run's model and record.

    Raises:
        RunError: If the folder is no run, or has no weights, or they do not fit.
    """
    paths = RunPaths(Path(path))
    record = RunRecord.read(paths.config)
    model = SMVAE(record.config.model)
    load_weights(model, Path(path))
    return Run(path=Path(path), model=model.eval(), record=record)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load the weights of the run folder `path` into a model.

    Raises:
        RunError: If there are none, or they do not fit.
    """
    weights = RunPaths(path).weights
    if not weights.is_file():
        raise RunError(path, "no weights.safetensors yet: train at least up to a checkpoint")
    try:
        model.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as err:
        first = str(err).strip().splitlines()[0]
        raise RunError(path, f"weights.safetensors does not fit config.json: {first}") from err


def save_weights(model: SMVAE, path: Path) -> None:
    """Write the weights for sharing, atomically."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    write_bytes(path, save(tensors, metadata={"format": "pt"}))


def write_arrays(path: Path, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Write arrays as an .npz file, atomically; equal arrays give equal bytes.

    numpy before 2.1 takes `allow_pickle=False` for one array more, so it is not said: what numpy
    would have to pickle is refused here.

    Raises:
        TypeError: If an array holds Python objects.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{path}: {name} holds Python objects ({array.dtype}), not numbers")
    content = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(content, **arrays)
    write_bytes(path, content.getbuffer())


def split_episodes(config: TrainConfig, episodes: Dataset) -> Split:
    """Return the split that a configuration makes of these episodes."""
    data = config.data
    return split(
        episodes.group,
        by=data.split_by,
        held_out=data.held_out,
        validation=data.validation,
        seed=data.split_seed,
        names=episodes.group_names,
    )


def check_records(config: TrainConfig, episodes: Dataset, train: NDArray[np.int64]) -> None:
    """Warn of what may ruin training on the records `train`, see `smvae_datasets.checks`.

    Raises:
        DataSetError: If training cannot work; names the first reason.
    """
    for finding in check_dataset(episodes, train, config.model.modalities, config.batch_size):
        if finding.fatal:
            raise DataSetError(episodes.path or "records", str(finding))
        logger.warning("%s", finding)


def training_statistics(
    config: TrainConfig, episodes: Dataset, train: NDArray[np.int64]
) -> dict[str, Statistics]:
    """Measure each modality on the training records that hold it.

    What needs no statistics is not read.

    Raises:
        ConfigError: If no training record holds a modality.
    """
    found = {}
    for m in config.model.modalities:
        rows = holding(episodes, train, [m.name])
        if len(rows) == 0:
            raise ConfigError(
                f"no training record holds '{m.name}': leave it out of --model.modalities"
            )
        found[m.name] = measure_statistics(
            m, episodes.arrays[m.name], config.data.force_scaling, rows
        )
    return found


def new_record(
    config: TrainConfig, episodes: Dataset, parts: Split, data: Mapping[str, Any]
) -> RunRecord:
    """Return the record of a run that starts now; `data` is passed on to RunRecord."""
    names = np.asarray(episodes.group_names)

    def of(index: NDArray[np.int64]) -> tuple[str, ...]:
        return tuple(names[np.unique(episodes.group[index])].tolist())

    return RunRecord(
        config=config,
        statistics=training_statistics(config, episodes, parts.train),
        train_trajectories=of(parts.train),
        held_out_trajectories=of(parts.held_out),
        validation_trajectories=of(parts.validation),
        data_fingerprint=fingerprint(episodes),
        data_steps=len(episodes),
        labelled={
            t.name: int(episodes.targets[t.name].known[parts.train].sum())
            for t in config.model.targets
            if not t.rule
        },
        **data,
    )
