"""Coverage of 90 % intervals: known answers where truth is drawn from the posterior."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.outage.__main__ import AGES_S, DEVIATIONS, Embedded
from benchmarks.outage.coverage import OffsetProbe, fit_variance, judged, scores
from smvae_core.model.config import MemoryConfig
from smvae_core.model.distributions import Posterior
from smvae_training.presets import debug
from smvae_training.run import load_run
from tests.training.conftest import make_episodes
from tests.training.short_runs import run


@pytest.mark.parametrize("claimed", [1.0, 0.25, 4.0])
def test_an_offset_is_covered_as_far_as_variance_is_claimed(claimed: float) -> None:
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=(4000, 5)), rng.uniform(0.1, 2.0, (4000, 5))
    weights, missed = rng.normal(size=(3, 5)), np.array([0.1, 1.0, 2.0])
    z = mean + np.sqrt(variance) * rng.normal(size=mean.shape)
    truth = z @ weights.T + 0.3 + np.sqrt(missed) * rng.normal(size=(4000, 3))
    q = Posterior(torch.from_numpy(mean), torch.from_numpy(np.log(claimed * variance)))
    offset = OffsetProbe(weights, np.full(3, 0.3), claimed * missed, np.ones(3))
    inside = offset.deviations(q, truth) <= DEVIATIONS
    expected = math.erf(DEVIATIONS * math.sqrt(claimed / 2))
    np.testing.assert_allclose(inside.mean(0), expected, atol=0.02)


def test_a_variance_is_a_constant_and_a_share_of_what_is_told() -> None:
    rng = np.random.default_rng(0)
    told = rng.exponential(1.0, (40_000, 2)) * [1.0, 1e-6]
    variance = np.array([0.5, 2e-6]) + np.array([2.0, 0.1]) * told
    constant, share = fit_variance(variance * np.square(rng.normal(size=told.shape)), told)
    np.testing.assert_allclose(constant, [0.5, 2e-6], rtol=0.1)
    np.testing.assert_allclose(share, [2.0, 0.1], rtol=0.2, atol=0.03)


@pytest.mark.parametrize(
    ("mean", "between", "holds"), [(0.9, 0.01, True), (0.93, 0.01, False), (0.9, 0.2, False)]
)
def test_a_verdict_asks_for_the_mean_and_its_interval(
    mean: float, between: float, holds: bool
) -> None:
    group = np.repeat(np.arange(10, dtype=np.int32), 4)
    values = mean + between * np.where(group % 2 == 0, 1.0, -1.0)
    found = judged(values, group)
    reach = 1.96 * between / 3.0  # of 10 trajectories: sqrt(10 / 9) between / sqrt(10)
    assert found["interval"] == pytest.approx([mean - reach, mean + reach])
    assert found["holds"] is holds


def test_every_age_is_measured_and_a_factor_mends_the_records_it_is_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    base, episodes = debug(), make_episodes(steps=90, trajectories=4)
    model = replace(base.model, pooling="evidence", decoded_noise=True, memory=MemoryConfig())
    paths = run(replace(base, model=model, max_steps=2), episodes, tmp_path_factory.mktemp("runs"))
    every = Embedded(load_run(paths.root), episodes)
    rows = list(scores(every, every))
    assert [row["age_s"] for row in rows] == [0.0, *AGES_S]
    for row in rows:
        for name in ("moved_over_claimed", "error_over_claimed"):
            assert (name in row) == (row["age_s"] > 0)
        for name in ("rgb", "depth", "offset"):
            wider = row[name]["with_factor"]["mean"] - row[name]["mean"]
            assert wider * (row[name]["factor"] - 1.0) >= 0
            assert 0.0 <= row[name]["mean"] <= 1.0
    after = [row["rgb"]["with_factor"]["mean"] for row in rows]
    assert np.mean(after) == pytest.approx(0.9, abs=0.05)
    assert len({row["rgb"]["factor"] for row in rows}) == 1
