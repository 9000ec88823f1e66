"""Checkpoints: none that is not finite, and a way on from every damage."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from safetensors.torch import load_file

from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import OptimizerConfig, TrainConfig
from smvae_training.resume import check_folder
from smvae_training.run import RunError, RunPaths, RunRecord
from smvae_training.steps.module import TrainingDiverged
from tests.training.short_runs import WithSteps, rows_without_speed, run


class Spoil(Callback):
    """Puts a NaN into what is learned, once step 3 is taken."""

    def __init__(self, where: str) -> None:
        self.where = where

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if trainer.global_step != 3:
            return
        weight = module.model.decoders["force"][0].weight
        spoiled = {
            "weights": weight,
            "average": module.average.decoders["force"][0].weight,
            "statistics": module.model.embeddings["rgb"][3].running_var,
            "moments": trainer.optimizers[0].state[weight]["exp_avg_sq"],
        }[self.where]
        with torch.no_grad():
            spoiled.view(-1)[7] = np.inf


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("weights", r"model\.decoders\.force\.0\.weight is not finite at step 3: lower"),
        ("average", r"average\.decoders\.force\.0\.weight is not finite"),
        ("statistics", r"model\.embeddings\.rgb\.3\.running_var is not finite"),
        ("moments", r"exp_avg_sq of model\.decoders\.force\.0\.weight is not finite"),
    ],
)
def test_what_is_not_finite_replaces_no_checkpoint_and_the_run_goes_on_from_it(
    with_steps: WithSteps, episodes: PreparedEpisodes, tmp_path: Path, where: str, named: str
) -> None:
    config = replace(with_steps(5), optimizer=OptimizerConfig(ema=0.9))
    config = replace(config, log=replace(config.log, checkpoint_every=1))
    straight = run(config, episodes, tmp_path / "straight")
    spoiled = RunPaths(tmp_path / "spoiled")
    with pytest.raises(TrainingDiverged, match=named):
        run(config, episodes, spoiled.root, callbacks=[Spoil(where)])
    assert RunRecord.read(spoiled.config).step == 2
    assert torch.load(spoiled.checkpoint, weights_only=True)["global_step"] == 2
    run(config, episodes, spoiled.root, resume=True)
    ours, theirs = load_file(spoiled.weights), load_file(straight.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def poison(path: Path) -> None:
    """What earlier versions wrote after a divergence."""
    content = torch.load(path, weights_only=True)
    content["state_dict"]["model.decoders.force.0.weight"][:] = float("nan")
    torch.save(content, path)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, r"is damaged \(RuntimeError, \d+ bytes\)"),
    "empty": (lambda path: path.write_bytes(b""), r"is damaged \(EOFError, 0 bytes\)"),
    "garbage": (
        lambda path: path.write_bytes(b"garbage" * 99),
        r"is damaged \(UnpicklingError, 693",
    ),
    "something else": (lambda path: torch.save({"a": 1}, path), r"is damaged \(KeyError"),
    "not finite": (poison, r"holds numbers that are not finite"),
    "gone": (Path.unlink, r"is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    with_steps: WithSteps,
    episodes: PreparedEpisodes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    config = with_steps(5)
    config = replace(config, log=replace(config.log, checkpoint_every=2))
    straight = run(config, episodes, tmp_path / "straight")
    paths = run(config, episodes, tmp_path / "run", stop_after=4)
    make, words = DAMAGES[damage]
    make(paths.checkpoint)
    caplog.clear()
    run(config, episodes, paths.root, resume=True)
    (line,) = [r.getMessage() for r in caplog.records if "resuming from" in r.getMessage()]
    assert re.search(rf"^checkpoints/last\.ckpt {words}", line), line
    assert line.endswith("resuming from previous.ckpt of step 2")
    ours, theirs = load_file(paths.weights), load_file(straight.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert rows_without_speed(paths) == rows_without_speed(straight)
    make(paths.checkpoint)
    paths.previous.unlink()
    with pytest.raises(RunError, match=rf"nothing to resume from: .*{words}.*--overwrite") as told:
        check_folder(paths, config, True, False)
    assert "\n" not in str(told.value)


class Break(Callback):
    """Ends a run before its first checkpoint."""

    def on_train_start(self, *_: Any) -> None:
        raise RuntimeError("no power")


def test_a_run_that_ended_before_its_first_checkpoint_can_be_started_and_resumed(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path, caplog: Any
) -> None:
    for resume in (False, True):
        folder = tmp_path / str(resume)
        with pytest.raises(RuntimeError, match="no power"):
            run(config, episodes, folder, callbacks=[Break()])
        assert RunRecord.read(run(config, episodes, folder, resume=resume).config).finished
        said = "no checkpoint yet, starting" if resume else "before its first checkpoint: it begins"
        assert said in caplog.text
