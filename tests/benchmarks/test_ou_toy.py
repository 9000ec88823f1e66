"""The Ornstein-Uhlenbeck toy: its exact law is right, and memory learns towards it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.linear_gaussian import LinearGaussian, linear_gaussian
from benchmarks.ou_toy import (
    RATES_HZ,
    TIMES_S,
    Filter,
    compare,
    contexts_to_test,
    train,
    training_contexts,
)


@pytest.fixture(scope="module")
def toy() -> LinearGaussian:
    return linear_gaussian(len(RATES_HZ), len(TIMES_S))


def test_the_exact_law_claims_the_error_that_it_has(toy: LinearGaussian) -> None:
    """Over 1,500 contexts of any sensors, rates and silences, each latent by itself."""
    contexts = training_contexts(toy, 1500, 4, np.random.default_rng(0))
    squared = (contexts.exact.mean - contexts.z).square()
    ratio = (squared / contexts.exact.variance).mean(0)
    assert bool(((ratio - 1.0).abs() < 4.0 * (2.0 / 1500) ** 0.5).all())
    assert float(contexts.exact.variance.min()) < 0.2
    assert float(contexts.exact.variance.max()) > 0.9


def test_silence_of_all_tells_less_than_silence_of_one(toy: LinearGaussian) -> None:
    one, every = (contexts_to_test(toy, 4, silence, 1.0, 2, seed=0) for silence in ("one", "all"))
    assert bool((one.exact.variance < every.exact.variance).all())


def test_memory_learns_towards_the_filter(toy: LinearGaussian) -> None:
    torch.manual_seed(0)
    before = compare(Filter(toy).eval(), toy, 2, "all", 0.5, 8)
    after = compare(train(toy, steps=30, batch=16, most=3, seed=0), toy, 2, "all", 0.5, 8)
    assert after["nats_lost"] < before["nats_lost"]
