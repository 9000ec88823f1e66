"""Decoders of targets learn on after the last step, and nothing else does."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from smvae_core.errors import ConfigError
from smvae_core.modality import all_subsets
from smvae_core.model.config import MemoryConfig
from smvae_core.model.smvae import SMVAE
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training import trainer
from smvae_training.config import DataConfig, OptimizerConfig, TrainConfig
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.run import Run, RunPaths, RunRecord, load_run, split_episodes
from smvae_training.steps import decode_on
from smvae_training.steps.decode_on import decoding_on
from smvae_training.steps.normalise import BatchNormaliser
from tests.training.short_runs import rows_without_speed, run


def asking(config: TrainConfig, decode_on: float, *names: str) -> TrainConfig:
    return replace(config, data=replace(config.data, targets=names, decode_on=decode_on))


def told_in(data: PreparedEpisodes, told: np.ndarray, *names: str) -> PreparedEpisodes:
    """Return the records, of which those `told` alone tell the targets `names`."""
    left = {
        name: replace(t, values=np.where(told[:, None], t.values, np.float32(np.nan)))
        for name, t in data.targets.items()
        if name in names
    }
    return replace(data, targets={**data.targets, **left})


def learned_on(trained: Run, data: PreparedEpisodes, steps: int, seed: int = 0) -> SMVAE:
    normaliser = BatchNormaliser(trained.model_config.modalities, trained.statistics)
    train = split_episodes(trained.config, data).train
    return decoding_on(trained.model, normaliser, data, train, steps, seed)


def squared_errors(model: SMVAE, trained: Run, data: PreparedEpisodes) -> list[float]:
    """Return the mean squared error of the offset, in deviations, from each subset."""
    train = split_episodes(trained.config, data).train
    predictor = Predictor(model, trained.statistics, Records.of(data, train, len(train)))
    decoder, y = model.targets["offset"], torch.from_numpy(data.targets["offset"].values[train])
    found = []
    with torch.inference_mode():
        for subset in all_subsets(model.names):
            mean, _ = decoder(predictor.posterior(subset).mean)
            wanted = (y - decoder.mean) / decoder.deviation
            found.append(float((mean - wanted).square().mean()))
    return found


@pytest.fixture
def trained(config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path) -> Run:
    optimizer = OptimizerConfig(lr=3e-3, schedule="constant", warmup=0)
    config = replace(config, max_steps=30, optimizer=optimizer)
    run(asking(config, 0.0, "offset", "contact"), episodes, tmp_path / "trained")
    return load_run(tmp_path / "trained")


def test_all_but_the_decoders_of_targets_is_what_it_is_without(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    ours = run(asking(config, 2.0, "all"), episodes, tmp_path / "ours")
    without = run(asking(config, 0.0, "all"), episodes, tmp_path / "without")
    weights, before = load_file(ours.weights), load_file(without.weights)
    changed = {name for name in before if not torch.equal(weights[name], before[name])}
    assert changed == {name for name in before if name.startswith("targets.")}
    assert rows_without_speed(ours) == rows_without_speed(without)
    states = [torch.load(p.checkpoint, weights_only=True)["state_dict"] for p in (ours, without)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_decoders_that_know_nothing_learn_what_every_subset_tells(
    trained: Run, episodes: PreparedEpisodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_on, "REPEATS", 2_000)  # these are few records
    torch.manual_seed(0)
    trained.model.targets["offset"].hidden.reset_parameters()
    trained.model.targets["offset"].head.reset_parameters()
    before = squared_errors(trained.model, trained, episodes)
    after = squared_errors(learned_on(trained, episodes, 300), trained, episodes)
    assert len(before) == 15
    assert all(a < b for a, b in zip(after, before, strict=True))
    assert np.mean(after) < 0.5 * np.mean(before)


def test_a_record_comes_a_few_hundred_times_however_many_steps_are_asked_for(
    trained: Run, episodes: PreparedEpisodes, caplog: pytest.LogCaptureFixture
) -> None:
    few = told_in(episodes, np.arange(len(episodes)) % 12 == 1, "offset", "contact")
    train = split_episodes(trained.config, few).train
    labels = int(few.targets["offset"].known[train].sum())
    with caplog.at_level(logging.INFO):
        learned_on(trained, few, 10_000)
    said = f"for {-(-400 * labels // 256)} steps from {labels} records in"
    assert sum(said in line for line in caplog.messages) == 1


def test_targets_that_other_records_tell_are_learned_beside_each_other(
    trained: Run, episodes: PreparedEpisodes
) -> None:
    third = np.arange(len(episodes)) % 3
    data = told_in(told_in(episodes, third == 0, "offset"), third == 1, "contact")
    found = learned_on(trained, data, 50)
    weights = {k: v for k, v in found.state_dict().items() if k.startswith("targets.")}
    assert all(v.isfinite().all() for v in weights.values())
    before = trained.model.state_dict()
    assert not any(torch.equal(v, before[k]) for k, v in weights.items())


def test_the_model_that_was_trained_stays_and_a_seed_decides(
    trained: Run, episodes: PreparedEpisodes
) -> None:
    before = {k: v.clone() for k, v in trained.model.state_dict().items()}
    first, again, other = (learned_on(trained, episodes, 20, seed) for seed in (3, 3, 4))
    assert all(torch.equal(v, before[k]) for k, v in trained.model.state_dict().items())
    key = "targets.offset.head.weight"
    assert torch.equal(first.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])


def test_a_run_that_was_killed_while_they_learn_goes_on_there(
    config: TrainConfig,
    episodes: PreparedEpisodes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = asking(config, 1.0, "offset")
    straight = run(config, episodes, tmp_path / "straight")

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "decoding_on", killed)
        with pytest.raises(SystemExit):
            run(config, episodes, tmp_path / "killed")
    paths = RunPaths(tmp_path / "killed")
    assert not RunRecord.read(paths.config).finished
    run(config, episodes, tmp_path / "killed", resume=True)
    ours, theirs = load_file(paths.weights), load_file(straight.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_with_a_memory_they_learn_in_its_stages_alone(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    memory = MemoryConfig(horizon_s=1.0, width=4)
    config = replace(config, model=replace(config.model, pooling="evidence", memory=memory))
    ours = run(asking(config, 1.0, "offset"), episodes, tmp_path / "ours")
    without = run(asking(config, 0.0, "offset"), episodes, tmp_path / "without")
    weights, before = load_file(ours.weights), load_file(without.weights)
    assert all(torch.equal(weights[name], before[name]) for name in before)


def test_a_run_of_before_goes_on_as_it_began(config: TrainConfig) -> None:
    for names, share in (((), DataConfig.decode_on), (("offset",), 0.0)):
        old = asking(config, 1.0, *names).to_json()
        del old["data"]["decode_on"], old["objective"]["targets_from_rest"]
        found = TrainConfig.from_json(old)
        assert found.data.decode_on == share
        assert found.objective.targets_from_rest is (not names)


@pytest.mark.parametrize("share", [-0.1, float("inf"), float("nan")])
def test_a_share_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.decode-on must be 0 or more, and finite, got"):
        DataConfig(decode_on=share)
