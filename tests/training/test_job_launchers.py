"""One device means one device, whatever a job launcher's variables say."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from safetensors.torch import load_file

from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import TrainConfig
from smvae_training.hardware import LAUNCHERS
from smvae_training.presets import debug
from smvae_training.processes import Processes
from smvae_training.run import RunPaths, RunRecord
from tests.training.short_runs import run

#: What the environment of a process holds in jobs of several tasks.
JOBS = {
    "slurm": "SLURM_JOB_ID=1 SLURM_JOB_NAME=train SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_LOCALID=0 "
    "SLURM_NODEID=0 SLURM_NODELIST=n1 SLURM_STEP_NODELIST=n1 SLURM_NNODES=1",
    "slurm's third task": "SLURM_JOB_ID=1 SLURM_JOB_NAME=train SLURM_NTASKS=4 SLURM_PROCID=2 "
    "SLURM_LOCALID=2 SLURM_NODEID=0 SLURM_NODELIST=n1 SLURM_STEP_NODELIST=n1 SLURM_NNODES=1",
    "torchrun": "TORCHELASTIC_RUN_ID=1 RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 "
    "GROUP_RANK=0 MASTER_ADDR=localhost MASTER_PORT=1",
    "mpirun": "OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_LOCAL_RANK=1 RANK=1",
    "lsf": "LSB_JOBID=1 LSB_DJOB_RANKFILE=none JSM_NAMESPACE_LOCAL_RANK=1 JSM_NAMESPACE_SIZE=2 "
    "JSM_NAMESPACE_RANK=1",
    "not a number": "LOCAL_RANK=x WORLD_SIZE=4",
}


@pytest.fixture(scope="module")
def alone(episodes: PreparedEpisodes, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """Return the run of a process that nobody started as one of several."""
    return run(debug(), episodes, tmp_path_factory.mktemp("alone") / "run")


@pytest.mark.parametrize("job", JOBS)
def test_a_run_of_one_device_is_the_same_in_every_job(
    config: TrainConfig,
    episodes: PreparedEpisodes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    alone: RunPaths,
    job: str,
) -> None:
    config = replace(config, log=replace(config.log, tensorboard=True))
    for pair in JOBS[job].split():
        monkeypatch.setenv(*pair.split("="))
    monkeypatch.setattr(rank_zero_only, "rank", 2)  # as at an import among these variables
    caplog.set_level(logging.INFO, "smvae_training")
    run(config, episodes, tmp_path / "run", stop_after=2)
    said = [r.getMessage() for r in caplog.records if "job launcher" in r.getMessage()]
    assert len(said) == 1
    assert said[0].endswith("is not followed: this process trains on 1 device")
    paths = run(config, episodes, tmp_path / "run", resume=True)
    assert RunRecord.read(paths.config).finished
    ours, theirs = load_file(paths.weights), load_file(alone.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    events = [p.stat().st_size for p in paths.tensorboard.iterdir()]
    assert sum(events) > 1000, "curves were written"


def test_only_a_run_of_several_devices_has_helpers(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = replace(config, hardware=replace(config.hardware, devices=2))
    assert not Processes.started_here(several).is_helper
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert Processes.started_here(several).is_helper
    assert not Processes.started_here(config).is_helper


def test_nothing_is_said_where_no_launcher_is(
    config: TrainConfig,
    episodes: PreparedEpisodes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "1")
    caplog.set_level(logging.INFO, "smvae_training")
    run(config, episodes, tmp_path / "run")
    assert "job launcher" not in caplog.text
