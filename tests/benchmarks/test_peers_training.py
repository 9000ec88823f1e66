"""A peer in our trainer: weights, average, resume, precision, and what it refuses."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.peers import METHODS, build
from smvae_core.errors import ConfigError, EmptySubset, UnknownModality
from smvae_core.model import ModelConfig, ObjectiveConfig
from smvae_core.presets import MNIST, vision_touch
from smvae_datasets.dataset import ImageRecords
from smvae_training.config import (
    DataConfig,
    HardwareConfig,
    LogConfig,
    OptimizerConfig,
    TrainConfig,
)
from smvae_training.resume import check_folder
from smvae_training.run import RunPaths, save_weights
from smvae_training.steps.module import TrainingDiverged
from smvae_training.trainer import train_on

try:
    from benchmarks.peers.model import PeerModel
    from benchmarks.peers.objective import objective
except ImportError as err:
    pytest.skip(str(err), allow_module_level=True)

LABELLED = ModelConfig(
    modalities=MNIST, latent_dim=4, embedding_dim=16, num_heads=1, image_network="mlp"
)
ROBOT = ModelConfig(
    modalities=vision_touch(32), latent_dim=4, embedding_dim=16, num_heads=1, base_channels=4
)
SIZE = 12
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make(method: str, config: ModelConfig, seed: int = 0) -> PeerModel:
    torch.manual_seed(seed)
    return build(method)(TrainConfig(model=config))[0]


def arguments(model: PeerModel) -> tuple[Any, ...]:
    """Return (batch, recorded, present, beta, config) of the objective."""
    batch = {m.name: torch.from_numpy(m.example(SIZE)) for m in model.modalities}
    everything = torch.ones(SIZE, len(model.names), dtype=torch.bool)
    return batch, everything, everything, 1.0, ObjectiveConfig()


def records(count: int = 64) -> ImageRecords:
    """Return digits that are one white square each, its place given by the label."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=count)
    images = np.zeros((count, 1, 28, 28), np.uint8)
    for i, label in enumerate(labels):
        images[i, 0, 2 * label : 2 * label + 8, 4:24] = 255
    return ImageRecords(
        name="squares",
        sensors=LABELLED.modalities,
        arrays={"image": images, "label": np.eye(10, dtype=np.uint8)[labels]},
        group=np.asarray(np.arange(count) >= count - 8, np.int32),
    )


def training(steps: int, **optimizer: Any) -> TrainConfig:
    return TrainConfig(
        model=LABELLED,
        objective=ObjectiveConfig(weights={"label": 10.0}),
        data=DataConfig(source="mnist", split_by="given"),
        optimizer=OptimizerConfig(warmup=0, **optimizer),
        hardware=HardwareConfig(precision="32", accelerator="cpu"),
        log=LogConfig(every=1, checkpoint_every=2, tensorboard=False),
        batch_size=8,
        max_steps=steps,
    )


def run(method: str, config: TrainConfig, folder: Path, **choices: Any) -> RunPaths:
    paths = RunPaths(folder)
    old = check_folder(paths, config, choices.pop("resume", False), False)
    train_on(config, records(), paths, old, "memory", build=build(method), **choices)
    return paths


@every_method
def test_stopping_at_2_and_resuming_equals_going_straight(method, tmp_path):
    config = training(4, ema=0.5)
    straight = run(method, config, tmp_path / "straight")
    run(method, config, tmp_path / "parts", stop_after=2)
    parts = run(method, config, tmp_path / "parts", resume=True)
    ours, theirs = load_file(parts.weights), load_file(straight.weights)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


@every_method
def test_training_gains_on_what_the_start_gives(method, tmp_path):
    config = training(150, lr=3e-3, schedule="constant")
    paths = run(method, config, tmp_path)
    trained, fresh = make(method, LABELLED), make(method, LABELLED)
    trained.load_state_dict(load_file(paths.weights))
    likelihood = []
    for model in (fresh, trained):
        batch, *rest = arguments(model)
        held = records().arrays
        batch = {"image": torch.from_numpy(held["image"][-SIZE:] / np.float32(255.0))}
        batch["label"] = torch.from_numpy(held["label"][-SIZE:]).float()
        draws = torch.Generator().manual_seed(0)
        with torch.no_grad():
            terms = objective(model.eval(), batch, *rest, draws)
        likelihood.append(sum(v.item() for v in terms.log_likelihood.values()))
    assert likelihood[1] > likelihood[0] / 3  # -546 nats at first: every pixel costs log 2


@every_method
def test_weights_survive_safetensors(method, tmp_path):
    model, other = make(method, ROBOT), make(method, ROBOT, seed=1)
    batch = arguments(model)[0]
    save_weights(model, tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    found = [m.eval().proposal(batch, m.names).mean for m in (model, other)]
    assert torch.equal(*found)


@every_method
def test_a_copy_reads_its_own_noise_scales(method):
    """The averaged model is a deep copy."""
    model = make(method, ROBOT)
    average = copy.deepcopy(model)
    before = [
        objective(m, *arguments(m), torch.Generator().manual_seed(0)).loss for m in (model, average)
    ]
    assert before[0] == before[1]
    with torch.no_grad():
        average.log_scale["rgb"] += 1.0
    after = [
        objective(m, *arguments(m), torch.Generator().manual_seed(0)).loss for m in (model, average)
    ]
    assert after[0] == before[0]
    assert after[1] != before[0]


@every_method
def test_decoded_noise_starts_as_the_shared_one_and_is_learned(method):
    shared, decoded = make(method, ROBOT), make(method, replace(ROBOT, decoded_noise=True))
    decoded.load_state_dict(shared_as_decoded(shared, decoded))
    losses = [
        objective(m, *arguments(m), torch.Generator().manual_seed(0)).loss
        for m in (shared, decoded)
    ]
    torch.testing.assert_close(losses[0], losses[1])
    losses[1].backward()
    heads = {n: p for n, p in decoded.named_parameters() if "log_noise" in n}
    assert len(heads) == len(ROBOT.modalities)
    assert all(p.grad.abs().sum() > 0 for p in heads.values())


def shared_as_decoded(shared: PeerModel, decoded: PeerModel) -> dict[str, torch.Tensor]:
    """Return the weights of `shared` under the names that they have in `decoded`."""
    old = shared.state_dict()
    return {
        name: value if "log_noise" in name else old[name.replace(".network.decoder.", ".network.")]
        for name, value in decoded.state_dict().items()
    }


@every_method
def test_a_generator_decides_the_samples_and_the_global_state_stays(method):
    model = make(method, ROBOT)
    losses, states = [], []
    for seed in (1, 1, 2):
        draws = torch.Generator().manual_seed(seed)
        with torch.no_grad():  # as the validation share is scored
            losses.append(objective(model, *arguments(model), draws).loss.item())
        states.append(torch.get_rng_state())
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(states[0], states[2])


@every_method
def test_under_bf16_posteriors_and_likelihoods_stay_float32(method):
    model = make(method, ROBOT)
    exact = objective(model, *arguments(model), torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        terms = objective(model, *arguments(model), torch.Generator().manual_seed(0))
        q = model.proposal(arguments(model)[0], model.names[:1])
    assert terms.loss.dtype == q.mean.dtype == torch.float32
    assert terms.loss.item() == pytest.approx(exact.loss.item(), rel=1e-2)
    assert terms.loss != exact.loss


@pytest.mark.parametrize("method", METHODS)
def test_a_nan_reaches_the_trainers_own_message(method, tmp_path, monkeypatch):
    data = records()
    data.arrays["image"] = data.arrays["image"].astype(np.float32)
    data.arrays["image"][:] = np.nan
    config = training(2)
    paths = RunPaths(tmp_path)
    with pytest.raises(TrainingDiverged, match="the loss is nan at step 0"):
        train_on(config, data, paths, None, "memory", build=build(method))


def test_incomplete_records_and_foreign_settings_are_refused():
    model = make("mvae", LABELLED)
    batch, recorded, present, beta, config = arguments(model)
    incomplete = recorded.clone()
    incomplete[3, 1] = False
    with pytest.raises(ConfigError, match="mvae: the peers are trained on complete records only"):
        objective(model, batch, incomplete, present, beta, config)
    with pytest.raises(ConfigError, match=r"mvae: objective.regulariser is ours"):
        objective(model, batch, recorded, present, beta, replace(config, regulariser=0.1))
    with pytest.raises(UnknownModality, match="unknown modality 'labels'"):
        objective(model, batch, recorded, present, beta, ObjectiveConfig(weights={"labels": 2.0}))


def test_a_proposal_names_what_is_wrong_with_batch_or_subset():
    model = make("mopoe", LABELLED)
    batch = arguments(model)[0]
    with pytest.raises(UnknownModality, match="unknown modality 'lable'"):
        model.proposal(batch, ["lable"])
    with pytest.raises(UnknownModality, match="unknown modality 'rgb'"):
        model.proposal(batch | {"rgb": batch["image"]}, ["label"])
    with pytest.raises(EmptySubset, match="no observed modality"):
        model.proposal(batch, [])
    with pytest.raises(ConfigError, match="mopoe: the batch lacks label"):
        model.proposal({"image": batch["image"]}, ["image", "label"])
