"""Augmentation: seeded, of what is observed alone, and what is absent stays absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.presets import vision_touch
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.augment import Sensor, augment
from smvae_training.augmenter import Augmenter
from smvae_training.config import AugmentConfig, TrainConfig
from smvae_training.run import RunRecord, training_statistics
from smvae_training.steps.data import StepStream, batch_order
from tests.declared import EVERY_KIND, JOINTS, POSE, SCAN
from tests.training.short_runs import WithSteps, run
from tests.training.test_absent_sensors import at_random, step

ALL = AugmentConfig(
    crop=0.1, color=0.2, holes=0.3, bias=0.1, noise=0.1, lost=0.5, delay=0.3, dropout=0.2, burst=6
)
RGB, DEPTH, FORCE, ACTION = vision_touch(32)


def samples(modality: Modality, count: int = 24) -> NDArray[Any]:
    rng = np.random.default_rng(3)
    family = modality.family
    raw = [family.example_sample(modality, rng) for _ in range(count)]
    return np.stack([family.prepare(modality, sample) for sample in raw])


def changed(modality: Modality, values: NDArray[Any], **config: float) -> NDArray[Any]:
    shape = (-1,) + (1,) * (len(modality.shape) - 1)
    scale = np.full(modality.shape[0], 2.0, np.float32).reshape(shape)
    sensor = Sensor(modality, scale, AugmentConfig(**config))  # type: ignore[arg-type]
    return augment(sensor, values, np.random.default_rng(5))


def augmenter(data: PreparedEpisodes, config: TrainConfig, augment: AugmentConfig) -> Augmenter:
    statistics = training_statistics(config, data, np.arange(len(data)))
    return Augmenter(data, statistics, augment, seed=0)


def stream(data: PreparedEpisodes, config: TrainConfig, augment: AugmentConfig) -> StepStream:
    order = batch_order(np.arange(len(data)), 20, seed=0)
    return StepStream(data, order, lambda: 0, augmenter=augmenter(data, config, augment))


SENSED = [m for m in EVERY_KIND if m.family.converters(m)]  # a label is nothing that is sensed


@pytest.mark.parametrize("modality", SENSED, ids=lambda m: m.name)
def test_samples_keep_shape_and_type_and_stay_what_the_kind_can_be(modality: Modality) -> None:
    before = samples(modality)
    after = changed(modality, before.copy(), crop=0.1, color=0.2, holes=0.9, noise=0.1, lost=0.5)
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    assert np.isfinite(after).all()
    si = after.astype(np.float32)
    assert modality.family.measured(modality, si).reshape(len(si), -1).any(axis=1).all()
    if modality.is_image:
        assert (after >= 0).all()


@pytest.mark.parametrize(
    ("modality", "name"),
    [
        *((RGB, n) for n in ("crop", "color")),
        *((DEPTH, n) for n in ("crop", "holes")),
        *((FORCE, n) for n in ("bias", "noise", "lost")),
        *((m, n) for m in (JOINTS, POSE) for n in ("bias", "noise")),
        *((SCAN, n) for n in ("holes", "noise")),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_each_setting_changes_the_kinds_that_it_says_and_none_at_zero(
    modality: Modality, name: str
) -> None:
    before = samples(modality)
    assert np.array_equal(changed(modality, before), before)
    after = changed(modality, before.copy(), **{name: 0.3})
    assert not np.array_equal(after, before)
    assert np.array_equal(changed(ACTION, samples(ACTION), **{name: 0.3}), samples(ACTION))


def test_holes_are_no_returns_and_never_take_the_last() -> None:
    depth = samples(DEPTH)
    after = changed(DEPTH, depth, holes=0.5)
    hole = after != depth
    assert (after[hole] == 0).all()
    assert 0.1 < hole.mean() < 0.4
    few = np.zeros_like(depth)
    few[:, :, 16, 16] = 1.0
    assert np.array_equal(changed(DEPTH, few, holes=0.99), few)
    scan = samples(SCAN)
    after = changed(SCAN, scan, holes=0.5)
    lost = (after != scan).any(axis=1)
    assert lost.any()
    assert not np.moveaxis(after, 1, 2)[lost].any()  # range and flag


def test_lost_readings_are_bridged_as_a_node_does() -> None:
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32), (50, 6, 32))
    np.testing.assert_allclose(changed(FORCE, ramp, lost=0.9), ramp, rtol=1e-5)
    force = samples(FORCE, 50)
    after = changed(FORCE, force, lost=0.9)
    assert np.array_equal(after[:, :, [0, -1]], force[:, :, [0, -1]])
    lost = (after != force).any(axis=1)
    assert 0.2 < lost.mean() < 0.6
    assert all((np.diff(np.flatnonzero(row)) == 1).all() for row in lost)


def test_a_batch_is_changed_by_its_seed_and_step_alone_and_its_targets_never(
    episodes: PreparedEpisodes, config: TrainConfig
) -> None:
    one, other = (stream(episodes, config, replace(ALL, dropout=0.0)) for _ in range(2))
    other.batch(0)
    batch, again = one.batch(2), other.batch(2)
    order = batch_order(np.arange(len(episodes)), 20, seed=0)
    plain = StepStream(episodes, order, lambda: 0).batch(2)
    assert torch.equal(batch.present, plain.present)
    for name in ("rgb", "depth", "force", "action"):
        assert torch.equal(batch.arrays[name], plain.arrays[name])
        assert torch.equal(batch.observed[name], again.observed[name])
        assert not torch.equal(batch.observed[name], plain.arrays[name])
    assert not torch.equal(one.batch(1).observed["force"], batch.observed["force"])


def test_what_is_absent_stays_absent(episodes: PreparedEpisodes, config: TrainConfig) -> None:
    data = at_random(episodes)
    order = batch_order(np.arange(len(data)), 20, seed=0)
    for number in range(3):
        batch = stream(data, config, ALL).batch(number)
        recorded = data.recorded[order.records(number)]
        kept = batch.recorded.numpy()
        assert not (kept & ~recorded).any()
        assert kept.any(axis=1).all()
        assert not (batch.present & ~batch.recorded).any()
        for index, name in enumerate(("rgb", "depth", "force", "action")):
            assert torch.isfinite(batch.observed[name][batch.recorded[:, index]]).all()
        assert torch.isnan(batch.observed["force"][~batch.recorded[:, 2]]).any()


def test_outages_take_a_sensor_from_whole_runs_of_records(
    episodes: PreparedEpisodes, config: TrainConfig
) -> None:
    found = augmenter(episodes, config, AugmentConfig(dropout=0.4, burst=10))
    index = np.arange(len(episodes))
    first, second = (found.left(index, episodes.recorded, epoch) for epoch in (0, 1))
    runs = first.reshape(-1, 10, 4)
    assert (runs == runs[:, :1]).all()
    assert 0.1 < (~first).mean() < 0.6
    assert not np.array_equal(first, second)
    assert first.any(axis=1).all()


def test_a_late_sensor_gives_the_sample_of_the_record_before_of_the_same_trajectory(
    episodes: PreparedEpisodes, config: TrainConfig
) -> None:
    recorded = np.ones_like(episodes.recorded)
    recorded[20, 3] = False
    data = replace(episodes, recorded=recorded)
    index = np.arange(len(data))
    arrays = {n: torch.from_numpy(np.array(a)) for n, a in data.arrays.items()}
    late = augmenter(data, config, AugmentConfig(delay=0.99)).observed(index, recorded, arrays, 0)
    action = data.arrays["action"]
    moved = np.array([not np.array_equal(late["action"][i], action[i]) for i in index])
    assert not moved[data.group != np.roll(data.group, 1)].any()
    assert not moved[[20, 21]].any()
    assert moved.mean() > 0.8
    for i in np.flatnonzero(moved):
        assert np.array_equal(late["action"][i], action[i - 1])


def test_a_resumed_run_is_changed_as_one_that_never_stopped(
    with_steps: WithSteps, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    config = replace(with_steps(4), augment=ALL)
    whole = run(config, episodes, tmp_path / "whole")
    halves = run(config, episodes, tmp_path / "halves", stop_after=2)
    run(config, episodes, tmp_path / "halves", resume=True)
    ours, theirs = load_file(whole.weights), load_file(halves.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    plain = run(with_steps(4), episodes, tmp_path / "plain")
    other = load_file(plain.weights)
    assert not all(torch.equal(ours[name], other[name]) for name in ours)
    one, another = (RunRecord.read(paths.config) for paths in (whole, plain))
    assert one.statistics == another.statistics
    assert one.config.augment == ALL
    assert not another.config.augment.on


def test_the_changed_samples_are_encoded_and_the_recorded_ones_explained(
    episodes: PreparedEpisodes, config: TrainConfig
) -> None:
    from smvae_core.model.objective import elbo

    model, _ = step(episodes, config, config.objective)
    inputs = {m.name: torch.from_numpy(m.example(8)) for m in config.model.modalities}
    junk = {name: torch.full_like(x, torch.nan) for name, x in inputs.items()}
    every = torch.ones(8, 4, dtype=torch.bool)

    def loss(batch: Any, observed: Any) -> torch.Tensor:
        draws = torch.Generator().manual_seed(0)
        return elbo(model, batch, every, every, 1.0, config.objective, draws, observed).loss

    assert torch.equal(loss(inputs, None), loss(inputs, inputs))
    assert torch.isnan(loss(inputs, junk))
    assert torch.isnan(loss(junk, inputs))
    other = {name: x + 0.5 for name, x in inputs.items()}
    assert not torch.equal(loss(inputs, other), loss(inputs, inputs))


def test_settings_that_cannot_be_are_refused(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"augment\.crop must lie in \[0, 1\), got 1\.5"):
        AugmentConfig(crop=1.5)
    with pytest.raises(ConfigError, match=r"augment\.noise must not be negative"):
        AugmentConfig(noise=-0.1)
    with pytest.raises(ConfigError, match=r"augment\.burst must be at least 1"):
        AugmentConfig(burst=0)
    with pytest.raises(ConfigError, match=r"data\.binarised draws the pixels itself"):
        replace(config, augment=ALL, data=replace(config.data, binarised=True))
    assert not AugmentConfig(burst=3).on
