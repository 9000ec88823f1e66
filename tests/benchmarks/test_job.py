"""A job of the queue, trained and scored for real: its learning rates, and what diverges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.paper.experiments import Experiment
from benchmarks.paper.job import Job
from benchmarks.paper.run_queue import claimed, run_all, work
from benchmarks.paper.variants import METHODS
from benchmarks.tables.paired import read_results
from benchmarks.tables.pairs import settings_table
from tests.training.told_runs import write_episodes

ABSURD, USUAL = 1e30, 1e-3
EXPERIMENT = Experiment(
    name="tiny",
    title="Tiny",
    preset="debug",
    kind="subsets",
    epochs=1,
    test_items=8,
    likelihood_items=4,
    samples=4,
    tuning_items=4,
    tuning_samples=2,
    changes={"data": {"held_out": 0.34, "validation": 0.2}, "objective": {"balance": 0.0}},
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episodes(tmp_path_factory.mktemp("episodes"), 0)


@pytest.fixture
def job(episodes: Path, tmp_path: Path) -> Job:
    results = tmp_path / "results"
    results.mkdir()
    return Job(EXPERIMENT, METHODS["smvae"], 0, tmp_path / "runs", episodes, results)


def tuned(job: Job, scores: dict[str, float | None]) -> None:
    job.tuning.parent.mkdir(parents=True)
    job.tuning.write_text(json.dumps({"scores": scores}))


def test_a_rate_that_diverges_while_tuning_is_not_chosen(job: Job, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.paper.job.LEARNING_RATES", (ABSURD, USUAL))
    assert run_all([job]) == 0
    tuning = json.loads(job.tuning.read_text())
    assert tuning["chosen"] == USUAL
    assert tuning["scores"]["1e+30"] is None
    assert json.loads(job.result.read_text())["budget"]["diverged"] == {}


def test_a_rate_that_diverges_over_the_whole_budget_gives_way_to_the_next(job: Job):
    tuned(job, {"1e+30": 2.0, "0.001": 1.0})
    job.work()
    budget: dict[str, Any] = json.loads(job.result.read_text())["budget"]
    assert budget["lr"] == USUAL
    assert "loss is" in budget["diverged"]["1e+30"]
    found = read_results(job.results, EXPERIMENT.name)
    assert "| 0.001 (1e+30 diverged) |" in settings_table(list(found.values()))


def test_a_resumed_job_does_not_train_again_what_diverged(job: Job, caplog):
    tuned(job, {"1e+30": 2.0, "0.001": 1.0})
    job.work()
    job.result.unlink()
    caplog.clear()
    with caplog.at_level("INFO", logger="benchmarks"):
        job.work()
    assert not [r for r in caplog.records if "training" in r.message and "1e+30" in r.message]
    assert "1e+30" in json.loads(job.result.read_text())["budget"]["diverged"]


def test_a_job_that_fails_is_named_and_does_not_stop_the_others(job: Job, caplog):
    tuned(job, {"1e+30": 1.0})
    other = Job(EXPERIMENT, METHODS["smvae-paper"], 0, job.runs, job.data, job.results)
    tuned(other, {"0.001": 1.0})
    assert run_all([job, other]) == 2
    assert other.done
    assert not job.done
    assert "tiny.smvae.seed0: training diverged at every learning rate" in caplog.text


def test_two_queues_share_a_tuning_and_no_seed(job: Job):
    with claimed(job.runs, "tiny.smvae") as tunes:
        assert tunes
        assert not work(job), "another process tunes the method"
        tuned(job, {"0.001": 1.0})
        with claimed(job.runs, job.name):
            assert not work(job), "another process trains this seed"
        assert not job.done
        assert work(job), "tuned: seeds are trained beside each other"
    assert job.done
    assert not work(job)


def test_a_killed_queue_leaves_no_claim(tmp_path: Path):
    code = (
        "import os, sys, pathlib; from benchmarks.paper.run_queue import claimed\n"
        "with claimed(pathlib.Path(sys.argv[1]), 'a') as mine:\n"
        "    print(mine, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=False)
    assert (found.stdout, found.returncode) == (b"True\n", -9), found.stderr
    with claimed(tmp_path, "a") as mine:
        assert mine
