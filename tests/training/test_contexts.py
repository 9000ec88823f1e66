"""Contexts of training: a function of (seed, step), of earlier training records of the group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smvae_core.errors import ConfigError
from smvae_datasets.dataset import DataSetError
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import ContextConfig
from smvae_training.steps.contexts import Contexts, Drawn
from smvae_training.steps.data import StepStream, batch_order
from smvae_training.steps.stages import Stages
from tests.training.conftest import make_episodes

HORIZON_S, BATCH = 2.0, 64


@pytest.fixture(scope="module")
def long() -> PreparedEpisodes:
    return make_episodes(side=64, trajectories=4, steps=60)


def draws(
    data: PreparedEpisodes, config: ContextConfig, steps: int = 20, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray, Drawn]]:
    index = np.arange(len(data))
    contexts = Contexts(data, index, config, HORIZON_S, seed)
    rng = np.random.default_rng(1)
    found = []
    for step in range(steps):
        chosen = rng.choice(index, BATCH)
        present = np.ones((BATCH, 4), bool)
        found.append((chosen, present, contexts.draw(chosen, present, step)))
    return found


def test_what_is_remembered_is_earlier_of_the_same_group_and_as_old_as_its_age_says(
    long: PreparedEpisodes,
) -> None:
    config = ContextConfig(jitter_s=0.0)
    total = 0
    for chosen, _, drawn in draws(long, config):
        for record, owner, age_s in drawn.remembered.values():
            total += len(record)
            reference = chosen[owner]
            assert (long.group[record] == long.group[reference]).all()
            real = (long.stamp_ns[reference] - long.stamp_ns[record]) * 1e-9
            assert (real > 0).all()
            assert (real <= HORIZON_S + 1e-9).all()
            np.testing.assert_allclose(age_s, real, atol=1e-6)
    assert total > 1000


def test_only_training_records_are_remembered(long: PreparedEpisodes) -> None:
    index = np.flatnonzero(np.arange(len(long)) % 3 > 0)
    contexts = Contexts(long, index, ContextConfig(), HORIZON_S, 0)
    for step in range(10):
        drawn = contexts.draw(index[50:90], np.ones((40, 4), bool), step)
        for each in drawn.remembered.values():
            assert np.isin(each.record, index).all()


def test_what_was_not_recorded_is_not_remembered(long: PreparedEpisodes) -> None:
    recorded = np.ones((len(long), 4), bool)
    recorded[::2, 2] = False
    holes = replace(long, recorded=recorded)
    for _, _, drawn in draws(holes, ContextConfig()):
        name = holes.sensors[2].name
        assert recorded[drawn.remembered[name].record, 2].all()


def test_lost_sensors_are_not_observed_and_their_memory_ends_where_the_outage_began(
    long: PreparedEpisodes,
) -> None:
    config = ContextConfig(share=1.0, late=0.0, alone=0.0, absent=0.0, outage_s=(0.5, 0.5))
    ages = np.concatenate(
        [
            drawn.remembered[name].age_s[~drawn.present[drawn.remembered[name].owner, number]]
            for _, _, drawn in draws(long, config)
            for number, name in enumerate(m.name for m in long.sensors)
        ]
    )
    assert len(ages) > 500
    assert ages.min() >= 0.5 - config.jitter_s - 1e-6


def test_every_sensor_is_remembered_by_as_many_samples_as_are_allowed(
    long: PreparedEpisodes,
) -> None:
    most = {m.name: 0 for m in long.sensors}
    for _, _, drawn in draws(long, ContextConfig(elements=10), 60):
        for name, each in drawn.remembered.items():
            most[name] = max(most[name], int(np.bincount(each.owner, minlength=1).max()))
    assert most == {m.name: 10 for m in long.sensors}


def test_all_images_are_lost_together_more_often_than_by_chance(long: PreparedEpisodes) -> None:
    config = ContextConfig(share=1.0, late=0.0, alone=0.0, absent=0.0)
    images = np.array([m.is_image for m in long.sensors])
    lost = np.concatenate([~drawn.present for _, _, drawn in draws(long, config)])
    calm, blind = (~lost).all(1).mean(), (lost == images).all(1).mean()
    assert 0.1 < calm < 0.3
    assert 0.25 < blind < 0.5


def test_some_samples_remember_nothing_and_every_sample_observes_something(
    long: PreparedEpisodes,
) -> None:
    for _, _, drawn in draws(long, ContextConfig(share=0.5)):
        owners = np.unique(np.concatenate([each.owner for each in drawn.remembered.values()]))
        assert 0.2 * BATCH < len(owners) < 0.8 * BATCH
        assert drawn.present.any(axis=1).all()
        without = np.setdiff1d(np.arange(BATCH), owners)
        assert drawn.present[without].mean() > drawn.present[owners].mean()


def test_a_context_depends_on_nothing_but_seed_and_step(long: PreparedEpisodes) -> None:
    order = batch_order(np.arange(len(long)), 16, seed=3)

    stages = Stages(own=0, tune=10)

    def batch(step: int, seed: int = 3, shard: tuple[int, int] = (0, 1)):
        contexts = Contexts(long, order.index, ContextConfig(), HORIZON_S, seed)
        stream = StepStream(long, order, lambda: 0, shard, contexts=contexts, stages=stages)
        return stream.batch(step)

    def flat(found) -> np.ndarray:
        return np.concatenate([each.age_s for each in found.references.remembered.values()])

    assert np.array_equal(flat(batch(5)), flat(batch(5)))
    assert not np.array_equal(flat(batch(5)), flat(batch(6)))
    assert not np.array_equal(flat(batch(5)), flat(batch(5, seed=4)))
    whole, halves = batch(5), [batch(5, shard=(rank, 2)) for rank in range(2)]
    for rank, half in enumerate(halves):
        assert np.array_equal(half.present, whole.present[rank::2])
        assert np.array_equal(half.references.record, whole.references.record[rank::2])
        for name, (record, owner, _) in half.references.remembered.items():
            every = whole.references.remembered[name]
            mine = every.owner % 2 == rank
            assert np.array_equal(owner * 2 + rank, every.owner[mine])
            assert np.array_equal(record, every.record[mine])


def test_records_without_time_have_nothing_to_remember(episodes: PreparedEpisodes) -> None:
    still = replace(episodes, stamp_ns=np.zeros(len(episodes), np.int64))
    with pytest.raises(DataSetError, match=r"needs records with stamps.*train without"):
        Contexts(still, np.arange(len(still)), ContextConfig(), HORIZON_S, 0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("share", 1.5, r"context\.share must lie in \[0, 1\], got 1\.5"),
        ("outage_s", (2.0, 1.0), r"context\.outage-s must be positive, the shortest first"),
        ("thinning", 0.5, r"context\.thinning must be at least 1"),
        ("elements", 0, r"context\.elements must be at least 1"),
        ("history_s", 0.0, r"context\.history-s must lie in \(0, 1\]"),
        ("match", -0.1, r"context\.match must not be negative"),
        ("match", float("nan"), r"context\.match must not be negative, got nan"),
        ("tune", float("inf"), r"context\.tune must be finite, got inf"),
        ("match_batches", 0, r"context\.match-batches must be at least 1"),
        ("jitter_s", -1.0, r"context\.jitter-s must not be negative"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(ContextConfig(), **{field: value})
