"""The Ornstein-Uhlenbeck toy: its exact law is right, and memory learns towards it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.outage import ou_toy
from benchmarks.outage.ou_toy import (
    RATES_HZ,
    TIMES_S,
    Filter,
    compare,
    contexts_to_test,
    train,
    training_contexts,
    verdict,
)
from benchmarks.paper.linear_gaussian import LinearGaussian, linear_gaussian
from smvae_training.run import RunError


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
    every, *each = (contexts_to_test(toy, 4, s, 1.0, 2, seed=0) for s in ("all", *range(4)))
    assert all(bool((one.exact.variance < every.exact.variance).all()) for one in each)


def test_memory_learns_towards_the_filter(toy: LinearGaussian, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = compare(Filter(toy).eval(), toy, 2, "all", 0.5, 8)
    model = train(toy, steps=30, batch=16, most=3, seed=0, runs=tmp_path)
    after = compare(model, toy, 2, "all", 0.5, 8)
    assert after["nats_lost"] < before["nats_lost"]


def test_a_training_that_was_killed_goes_on_as_if_it_had_never_stopped(
    toy: LinearGaussian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = {"steps": 6, "batch": 4, "most": 3, "seed": 0}
    straight = train(toy, **shape, runs=tmp_path / "straight").state_dict()
    monkeypatch.setattr(ou_toy, "CHECKPOINT_EVERY", 2)
    draw, drawn = training_contexts, []

    def killed(*given):
        drawn.append(given)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return draw(*given)

    monkeypatch.setattr(ou_toy, "training_contexts", killed)
    with pytest.raises(KeyboardInterrupt):
        train(toy, **shape, runs=tmp_path / "parts")
    counted = []
    monkeypatch.setattr(
        ou_toy, "training_contexts", lambda *given: (counted.append(given), draw(*given))[1]
    )
    parts = train(toy, **shape, runs=tmp_path / "parts").state_dict()
    assert len(counted) == 4  # of 6, 2 are in the checkpoint
    assert all(torch.equal(parts[name], straight[name]) for name in straight)
    train(toy, **shape, runs=tmp_path / "parts")
    assert len(counted) == 4
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["seed0.ckpt"]


def test_a_checkpoint_of_other_settings_is_refused(toy: LinearGaussian, tmp_path: Path) -> None:
    train(toy, steps=1, batch=4, most=3, seed=0, runs=tmp_path)
    with pytest.raises(RunError, match=r"'steps': 1,.* expected .*'steps': 2,"):
        train(toy, steps=2, batch=4, most=3, seed=0, runs=tmp_path)


def test_the_verdict_says_which_limit_is_missed_by_how_much() -> None:
    holds = {"variance_ratio": [0.98, 1.1], "error_ratio": [1.0, 1.1]}
    misses = {"variance_ratio": [0.97, 1.0], "error_ratio": [1.0, 1.3]}
    assert verdict([holds])["missed_by"] == {}
    missed = verdict([holds, misses])["missed_by"]
    assert missed == pytest.approx({"variance below": 0.01, "error above": 0.2})
