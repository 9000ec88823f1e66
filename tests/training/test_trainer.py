"""The trainer: exact resume, usable checkpoints, overfitting, golden losses, clear refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from safetensors.torch import load_file

from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import OptimizerConfig, TrainConfig
from smvae_training.presets import preset
from smvae_training.resume import check_folder
from smvae_training.run import RunError, RunPaths, RunRecord, load_run
from smvae_training.steps.callbacks import read_metrics
from smvae_training.steps.module import (
    SMVAETraining,
    TrainingDiverged,
    clip_gradient,
    lr_factor,
    update_average,
)
from smvae_training.steps.stages import Stages
from tests.training.short_runs import WithSteps, rows_without_speed, run


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_gradients_are_clipped_in_every_precision(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path, precision: Any
) -> None:
    clipped = replace(
        config,
        optimizer=replace(config.optimizer, clip=1e-6, schedule="constant", lr=1e-3),
        hardware=replace(config.hardware, precision=precision),
    )
    free = replace(clipped, optimizer=replace(clipped.optimizer, clip=0.0))
    norms = []
    for name, settings in (("clipped", clipped), ("free", free)):
        watch = GradientNorm()
        run(settings, episodes, tmp_path / name, stop_after=1, callbacks=[watch])
        norms.append(watch.norm)
    assert norms[0] <= 1.001e-6 < norms[1]


def test_a_gradient_is_clipped_as_torch_does_and_a_small_one_stays_as_it_is() -> None:
    def weights() -> list[torch.nn.Parameter]:
        made = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2))]
        made[0].grad = torch.tensor([1.0, -2.0, 3.0])
        return made

    for largest in (1e-3, 1.0, 3.7416, 3.7418, 10.0):  # the norm is 3.74166
        mine, theirs = weights(), weights()
        clip_gradient(mine, largest)
        torch.nn.utils.clip_grad_norm_(theirs, largest)
        assert mine[0].grad is not None
        assert theirs[0].grad is not None
        torch.testing.assert_close(mine[0].grad, theirs[0].grad, rtol=0, atol=0)
        assert mine[1].grad is None
    unusable = weights()
    unusable[0].grad = torch.tensor([1.0, float("nan"), 3.0])
    clip_gradient(unusable, 10.0)
    assert unusable[0].grad is not None
    assert unusable[0].grad.isnan().all()


class GradientNorm(Callback):
    """Reads the norm of what the optimiser gets."""

    norm = 0.0

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        self.norm = float(torch.stack([g.norm() for g in gradients]).norm())


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_stopping_at_2_and_resuming_equals_going_straight(
    with_steps: WithSteps, episodes: PreparedEpisodes, tmp_path: Path, schedule: Any, ema: float
) -> None:
    optimizer = OptimizerConfig(schedule=schedule, warmup=2, ema=ema)
    config = replace(with_steps(9), optimizer=optimizer)  # 6 steps per epoch: crosses an epoch
    straight = run(config, episodes, tmp_path / "straight")
    run(config, episodes, tmp_path / "parts", stop_after=2)
    parts = run(config, episodes, tmp_path / "parts", resume=True)
    ours, theirs = load_file(parts.weights), load_file(straight.weights)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert rows_without_speed(parts) == rows_without_speed(straight)


def test_a_constant_run_can_be_prolonged_exactly(
    with_steps: WithSteps, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    short, long = (replace(with_steps(n), annealing=0.0) for n in (2, 4))
    straight = run(long, episodes, tmp_path / "straight")
    run(short, episodes, tmp_path / "parts")
    parts = run(long, episodes, tmp_path / "parts", resume=True)
    ours, theirs = load_file(parts.weights), load_file(straight.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


class Interrupt(Callback):
    """Raises where Ctrl-C would, after some steps."""

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 3:
            import signal

            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_finishes_the_step_and_leaves_a_checkpoint_that_resumes_exactly(
    with_steps: WithSteps, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    config = with_steps(6)
    straight = run(config, episodes, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(config, episodes, tmp_path / "stopped", callbacks=[Interrupt()])
    stopped = RunPaths(tmp_path / "stopped")
    record = RunRecord.read(stopped.config)
    assert (record.step, record.finished) == (4, False)
    checkpoint = torch.load(stopped.checkpoint, weights_only=True)
    assert checkpoint["global_step"] == 4
    assert load_run(stopped.root).model.training is False
    run(config, episodes, tmp_path / "stopped", resume=True)
    ours, theirs = load_file(stopped.weights), load_file(straight.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_one_batch_is_overfitted(
    with_steps: WithSteps, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    optimizer = OptimizerConfig(lr=3e-3, schedule="constant", warmup=0)
    config = replace(with_steps(120), optimizer=optimizer, batch_size=64, annealing=1.0)
    config = replace(config, log=replace(config.log, every=10, checkpoint_every=0))
    rows = read_metrics(run(config, episodes, tmp_path / "run").metrics)
    assert rows[-1]["elbo"] > 0 > rows[0]["elbo"]
    assert rows[-1]["noise_scale/rgb"] < rows[0]["noise_scale/rgb"]


def test_noise_scales_alone_learn_faster_and_do_not_decay():
    torch.manual_seed(0)
    config = preset("debug")
    model = SMVAE(config.model)
    statistics = {
        m.name: Statistics(mean=(0.0,) * m.shape[0], scale=(1.0,) * m.shape[0])
        for m in config.model.modalities
    }
    module = SMVAETraining(model, statistics, config, Stages(4), 8)
    networks, scales = module.configure_optimizers()["optimizer"].param_groups
    assert {id(p) for p in scales["params"]} == {id(p) for p in model.log_scale.parameters()}
    assert len(networks["params"]) + len(scales["params"]) == len(list(model.parameters()))
    assert scales["initial_lr"] == 20.0 * networks["initial_lr"]
    assert scales["weight_decay"] == 0.0


def test_golden_first_losses_of_debug(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    """A refactor leaves these equal; a change of numbers says why in its commit."""
    rows = read_metrics(run(config, episodes, tmp_path / "run").metrics)
    golden = json.loads(Path(__file__).with_name("golden_losses.json").read_text())
    np.testing.assert_allclose([row["loss"] for row in rows], golden, rtol=1e-3)


def test_run_folder_loads_without_pickle_and_its_record_comes_back(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    paths = run(config, episodes, tmp_path / "run")
    loaded = load_run(paths.root)
    assert loaded.config == config
    assert loaded.record.finished
    assert set(loaded.record.train_trajectories).isdisjoint(loaded.record.held_out_trajectories)
    split = loaded.split(episodes)
    assert len(split.train) == 48
    assert set(torch.load(paths.checkpoint, weights_only=True)) >= {"state_dict", "loops"}


def test_a_run_is_not_overwritten_by_accident(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    paths = run(config, episodes, tmp_path / "run")
    with pytest.raises(RunError, match=r"holds a run of 4 of 4 steps.*--resume.*--overwrite"):
        check_folder(paths, config, False, False)
    with pytest.raises(RunError, match="contradict"):
        check_folder(paths, config, True, True)
    with pytest.raises(RunError, match=r"cannot change --seed 0 -> 1"):
        check_folder(paths, replace(config, seed=1), True, False)
    assert check_folder(paths, config, False, True) is None
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty and holds no run"):
        check_folder(RunPaths(other), config, False, False)


def test_resuming_nothing_or_other_data_is_refused(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"no config\.json"):
        check_folder(RunPaths(tmp_path / "none"), config, True, False)
    paths = run(config, episodes, tmp_path / "run", stop_after=2)
    arrays = episodes.arrays | {"action": np.array(episodes.arrays["action"]) + 1}
    with pytest.raises(RunError, match="other data"):
        run(config, replace(episodes, arrays=arrays), paths.root, resume=True)


def test_damaged_weights_are_named(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    paths = run(config, episodes, tmp_path / "run")
    paths.weights.write_bytes(b"12345678 not safetensors")
    with pytest.raises(RunError, match=r"weights\.safetensors does not fit"):
        load_run(paths.root)
    paths.weights.unlink()
    with pytest.raises(RunError, match=r"no weights\.safetensors"):
        load_run(paths.root)
    paths.config.write_text("{")
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        load_run(paths.root)


def test_a_loss_that_is_not_finite_stops_with_advice(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    objective = replace(config.objective, weights={"depth": 1e60})
    with pytest.raises(TrainingDiverged, match=r"the loss is -?(inf|nan) at step 0: lower --opt"):
        run(replace(config, objective=objective), episodes, tmp_path / "run")


def test_a_loss_that_ran_away_stops_although_it_is_finite(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    objective = replace(config.objective, weights={"depth": 1e14})
    with pytest.raises(TrainingDiverged, match=r"the loss is \d\.\d+e\+\d\d at step 0: lower"):
        run(replace(config, objective=objective), episodes, tmp_path / "run")


def test_learning_rate_rises_then_falls_to_zero() -> None:
    config = TrainConfig(optimizer=OptimizerConfig(warmup=4))
    factors = [lr_factor(step, config, Stages(100)) for step in range(101)]
    assert factors[0] == pytest.approx(0.2)
    assert np.argmax(factors) == 4
    assert factors[100] == pytest.approx(0.0, abs=1e-9)


def test_beta_rises_linearly_to_one() -> None:
    config = TrainConfig(annealing=0.5)
    assert [config.beta(step, 100) for step in (0, 25, 50, 99)] == [0.0, 0.5, 1.0, 1.0]
    assert replace(config, annealing=0.0).beta(0, 100) == 1.0


def test_averaged_weights_lie_between_old_and_new(config: TrainConfig) -> None:
    old, new = SMVAE(config.model), SMVAE(config.model)
    before = [p.clone() for p in old.parameters()]
    update_average(old, new, 0.9, step=10_000)
    for kept, was, now in zip(old.parameters(), before, new.parameters(), strict=True):
        torch.testing.assert_close(kept, 0.9 * was + 0.1 * now, rtol=1e-5, atol=1e-6)


def test_every_preset_survives_json() -> None:
    for name in ("vision_touch", "demo", "debug"):
        config = preset(name)
        assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
