"""Which process of a run this is, and what a job that starts it again goes on with."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from smvae_core.errors import ConfigError
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.cli import main
from smvae_training.config import TrainConfig
from smvae_training.processes import FRESH_STORE, Processes
from smvae_training.resume import check_folder
from smvae_training.run import RunError, RunPaths, RunRecord
from smvae_training.trainer import train_on
from tests.training.short_runs import WithSteps

#: What torchrun tells the third of four processes, the first on the second machine.
TOLD = {
    "RANK": "2",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_RUN_ID": "night",
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in TOLD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_first_process_of_a_second_machine_is_a_helper(told: pytest.MonkeyPatch) -> None:
    found = Processes.of_torchrun()
    assert (found.size, found.rank, found.local_size) == (4, 2, 2)
    assert found.is_helper
    assert found.trainer_arguments()["num_nodes"] == 2
    told.setenv("TORCHELASTIC_RUN_ID", "none")
    assert Processes.of_torchrun().job.startswith("torchrun process ")


def test_a_restart_that_may_fail_is_warned_of(
    told: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    told.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    Processes.of_torchrun()
    assert f"set {FRESH_STORE}=1 before torchrun" in caplog.text
    caplog.clear()
    told.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    with caplog.at_level(logging.WARNING):
        Processes.of_torchrun()
    assert not caplog.text


def test_a_process_that_torchrun_did_not_start_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in TOLD:
        monkeypatch.delenv(name, raising=False)
    assert main(["train", "--data", "x", "--out", "y", "--torchrun"]) == 2
    assert "RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, TORCHELASTIC_RUN_ID not set" in (
        capsys.readouterr().err
    )
    assert main(["train", "--data", "x", "--out", "y", "--torchrun", "--ray", "local"]) == 2
    assert "--torchrun and --ray contradict each other" in capsys.readouterr().err


def test_every_device_gets_a_record(config: TrainConfig) -> None:
    Processes(size=8).check_batch(8)
    with pytest.raises(ConfigError, match="a batch of 7 records cannot be shared by 8 devices"):
        Processes(size=8).check_batch(7)
    hardware = replace(config.hardware, devices=9)
    with pytest.raises(ConfigError, match="batch-size 8 cannot be shared by 9 devices"):
        replace(config, hardware=hardware)


def test_a_job_goes_on_with_what_it_began_and_with_nothing_else(
    with_steps: WithSteps, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    """Also where it was told to overwrite; its helpers go on with it."""
    config, paths = with_steps(4), RunPaths(tmp_path / "run")
    job = Processes(starter="torchrun", job="torchrun night")
    helper = replace(job, size=2, rank=1)
    assert check_folder(paths, config, False, True, job) is None
    train_on(config, episodes, paths, None, "memory", 2, processes=job)
    assert RunRecord.read(paths.config).job == "torchrun night"
    for each in (job, helper):
        found = check_folder(paths, config, False, True, each)
        assert found is not None
        assert found.step == 2
    other = replace(job, job="torchrun another")
    with pytest.raises(RunError, match="holds a run of 2 of 4 steps"):
        check_folder(paths, config, False, False, other)
    assert check_folder(paths, config, False, True, other) is None
    assert check_folder(paths, config, False, False, replace(other, size=2, rank=1)) is None


def test_a_job_that_was_killed_before_its_first_checkpoint_begins_again(
    with_steps: WithSteps, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    config, paths = with_steps(4), RunPaths(tmp_path / "run")
    job = Processes(starter="torchrun", job="torchrun night")
    train_on(config, episodes, paths, None, "memory", 2, processes=job)
    for path in (paths.checkpoint, paths.previous):
        path.unlink(missing_ok=True)
    record = replace(RunRecord.read(paths.config), step=0)
    record.write(paths.config)
    for each in (job, replace(job, size=2, rank=1)):
        assert check_folder(paths, config, False, False, each) is None
