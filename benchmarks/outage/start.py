"""Training that begins where a run without memory ended: the later stages alone."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from benchmarks.outage.peers import PEERS, Peer
from benchmarks.runs import check_settings
from smvae_core.model.config import ModelConfig
from smvae_core.model.objective import Objective, elbo
from smvae_core.model.smvae import SMVAE
from smvae_training.config import TrainConfig
from smvae_training.run import Run, RunError, RunPaths, RunRecord, load_weights
from smvae_training.steps.stages import Stages
from smvae_training.trainer import Build

#: Settings of the later stages, and how long a run is: a start may have others.
_LATER = ("context", "max_steps", "epochs")


@dataclass(frozen=True, kw_only=True)
class LaterStages(TrainConfig):
    """The settings of a run whose first stage is another run."""

    @classmethod
    def of(cls, config: TrainConfig) -> LaterStages:
        return cls(**{f.name: getattr(config, f.name) for f in fields(config)})

    def stages(self, steps_per_epoch: int) -> Stages:
        return replace(super().stages(steps_per_epoch), own=0)


def untrained(kind: str, config: ModelConfig) -> SMVAE:
    """Return the model of a row of the benchmark."""
    return Peer(config, kind) if kind in PEERS else SMVAE(config)


def begin(kind: str, start: Run | None) -> Build:
    """Return what makes the model, with the weights of the run that it begins with."""

    def build(config: TrainConfig) -> tuple[SMVAE, Objective]:
        model = untrained(kind, config.model)
        if start:
            weights = start.model.state_dict()
            own = {n: w for n, w in model.state_dict().items() if n.startswith("memory.")}
            model.load_state_dict(weights | own)
        return model, elbo

    return build


def check_start(start: Run, config: TrainConfig) -> None:
    """Refuse a run that is not the first stage of `config`.

    Raises:
        RunError: If it is not finished, or its settings are others.
    """
    record = start.record
    if not record.finished:
        raise RunError(
            start.path, f"is no start: {record.step} of {record.total_steps} steps are trained"
        )
    wanted = replace(config, model=replace(config.model, memory=None))
    hint = "Give another --start, a run of kind 'instant'"
    check_settings(start.path, start.config, wanted, hint, but=_LATER)


def load(kind: str, path: Path) -> Run:
    """Load a run of the benchmark, whatever its memory is.

    Raises:
        RunError: If the folder is no run, or has no weights, or they do not fit.
    """
    record = RunRecord.read(RunPaths(path).config)
    model = untrained(kind, record.config.model)
    load_weights(model, path)
    return Run(path=path, model=model.eval(), record=record)
