"""Training with memory: exact resume, every target, every weight in use, clear refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from smvae_core.model.config import MemoryConfig
from smvae_core.model.objective import elbo
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE
from smvae_datasets.dataset import DataSetError
from smvae_datasets.prepared import PreparedEpisodes
from smvae_training.config import AugmentConfig, TrainConfig
from smvae_training.contexts import Contexts
from smvae_training.data import Batch, StepStream, batch_order
from smvae_training.module import SMVAETraining
from smvae_training.normalise import BatchNormaliser
from smvae_training.presets import debug
from smvae_training.run import load_run, training_statistics
from tests.training.short_runs import rows_without_speed, run

OBJECTIVES = {
    "observed": ObjectiveConfig(complement=True),
    "subset": ObjectiveConfig(target="subset"),
    "remaining": ObjectiveConfig(target="remaining"),
    "joint": ObjectiveConfig(target="joint", second_bound="subset"),
}


@pytest.fixture
def config() -> TrainConfig:
    base = debug()
    model = replace(base.model, pooling="evidence", memory=MemoryConfig(horizon_s=1.0, width=4))
    return replace(base, model=model)


def batches(config: TrainConfig, data: PreparedEpisodes, count: int) -> list[Batch]:
    index = np.arange(len(data))
    order = batch_order(index, config.batch_size, 0)
    contexts = Contexts(data, index, config.context, 1.0, 0)
    stream = StepStream(data, order, lambda: 0, contexts=contexts)
    return [stream.batch(step) for step in range(count)]


def test_stopping_at_2_and_resuming_equals_going_straight(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    augmented = replace(config, max_steps=5, augment=AugmentConfig(noise=0.1, crop=0.1))
    straight = run(augmented, episodes, tmp_path / "straight")
    run(augmented, episodes, tmp_path / "parts", stop_after=2)
    parts = run(augmented, episodes, tmp_path / "parts", resume=True)
    ours, theirs = load_file(parts.weights), load_file(straight.weights)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert rows_without_speed(parts) == rows_without_speed(straight)
    assert load_run(parts.root).config == augmented


@pytest.mark.parametrize("target", OBJECTIVES)
def test_every_weight_learns_from_every_target(
    config: TrainConfig, episodes: PreparedEpisodes, target: str
) -> None:
    torch.manual_seed(0)
    model = SMVAE(config.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    statistics = training_statistics(config, episodes, np.arange(len(episodes)))
    normaliser = BatchNormaliser(config.model.modalities, statistics)
    for batch in batches(config, episodes, 3):  # what begins at zero hides others for two steps
        assert batch.context is not None
        context = batch.context._replace(inputs=normaliser(batch.context.inputs))
        inputs = normaliser(batch.arrays)
        optimizer.zero_grad()
        terms = elbo(
            model, inputs, batch.recorded, batch.present, 0.5, OBJECTIVES[target], context=context
        )
        assert torch.isfinite(terms.loss)
        terms.loss.backward()
        optimizer.step()
    still = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    assert not still


def test_what_is_remembered_leaves_the_targets_as_they_are(
    config: TrainConfig, episodes: PreparedEpisodes
) -> None:
    batch = batches(config, episodes, 1)[0]
    plain = StepStream(episodes, batch_order(np.arange(len(episodes)), config.batch_size, 0), int)
    without = plain.batch(0)
    assert all(torch.equal(batch.arrays[name], without.arrays[name]) for name in batch.arrays)
    assert torch.equal(batch.recorded, without.recorded)
    assert without.context is None


def test_an_image_set_cannot_be_trained_with_memory(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    still = replace(episodes, stamp_ns=np.zeros(len(episodes), np.int64))
    with pytest.raises(DataSetError, match=r"needs records with stamps.*without model\.memory"):
        run(config, still, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_configuration_from_before_memory_still_loads(config: TrainConfig) -> None:
    old = debug().to_json()
    del old["context"], old["model"]["memory"]
    assert TrainConfig.from_json(old) == debug()
    assert TrainConfig.from_json(config.to_json()) == config


def test_the_times_of_memory_learn_as_fast_as_the_noise(
    config: TrainConfig, episodes: PreparedEpisodes
) -> None:
    """Logarithms of times: at the networks' rate they hardly leave where they begin."""
    model = SMVAE(config.model)
    assert model.memory is not None
    statistics = training_statistics(config, episodes, np.arange(len(episodes)))
    module = SMVAETraining(model, statistics, config, total_steps=5, batch_size=1)
    networks, slow = module.configure_optimizers()["optimizer"].param_groups
    fast = {id(p) for p in slow["params"]}
    assert fast >= {id(p) for p in model.memory.times()}
    assert not fast & {id(p) for p in networks["params"]}
    assert len(networks["params"]) + len(slow["params"]) == len(list(model.parameters()))
