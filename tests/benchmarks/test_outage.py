"""The outage benchmark: what it remembers is what the model would be told, sample by sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.outage.__main__ import (
    AGES_S,
    Condition,
    Embedded,
    conditions,
    offset_error,
    trained,
)
from smvae_core.model.config import MemoryConfig
from smvae_core.model.memory.context import Context
from smvae_core.preprocessing import normalise
from smvae_training.presets import debug
from smvae_training.run import RunError, load_run
from tests.training.conftest import make_episodes
from tests.training.short_runs import run

NAMES, CAMERAS = ("rgb", "depth", "force", "action"), ("rgb", "depth")


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    base, episodes = debug(), make_episodes(steps=30)
    model = replace(base.model, pooling="evidence", memory=MemoryConfig(horizon_s=1.0))
    paths = run(replace(base, model=model, max_steps=3), episodes, tmp_path_factory.mktemp("runs"))
    return Embedded(load_run(paths.root), episodes)


def test_cached_readings_give_the_posterior_of_the_same_context(every: Embedded) -> None:
    reference = np.array([20, 55, 88])
    remembered = {"rgb": (0.25, 1.0), "action": (0.0, 0.5)}
    condition = Condition(
        name="", present=("force", "action"), remembered=remembered, newest=("rgb",)
    )
    found = every.posterior(reference, condition)
    ages = {"rgb": [5], "action": range(10, 0, -1)}
    data, statistics = every.data, every.run.statistics

    def inputs(name: str, rows: np.ndarray) -> torch.Tensor:
        modality = next(m for m in data.sensors if m.name == name)
        return torch.from_numpy(normalise(modality, statistics[name], data.arrays[name][rows]))

    rows = {n: np.concatenate([r - np.array(a) for r in reference]) for n, a in ages.items()}
    context = Context(
        {n: inputs(n, r) for n, r in rows.items()},
        {n: torch.arange(3).repeat_interleave(len(a)) for n, a in ages.items()},
        {n: torch.tensor([*a], dtype=torch.float32).repeat(3) * 0.05 for n, a in ages.items()},
    )
    present = torch.tensor([[False, False, True, True]] * 3)
    batch = {n: inputs(n, reference) for n in ("force", "action")}
    with torch.no_grad():
        expected = every.model.encode(batch, present, context)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.log_var, expected.log_var, rtol=1e-4, atol=1e-5)


def test_lost_cameras_are_not_observed_and_remembered_from_the_loss_on() -> None:
    found = conditions(NAMES, CAMERAS, 5.0)
    assert len({c.name for c in found}) == len(found)
    lost = [c for c in found if c.lost]
    assert {(c.lost, c.age_s) for c in lost} == {
        (name, age_s) for name in ("rgb+depth", *CAMERAS) for age_s in AGES_S
    }
    for condition in lost:
        for name in condition.lost.split("+"):
            assert name not in condition.present
            assert condition.remembered[name] == (condition.age_s, 5.0)
    assert [c.name for c in found if c.offset] == [
        "all alive",
        "all alive, nothing remembered",
        "rgb+depth lost for 1 s",
        "force+action of now",
    ]


def test_an_offset_is_told_from_the_latents_of_its_condition(every: Embedded) -> None:
    now = Condition(name="", present=NAMES, remembered={}, offset=True)
    records = np.arange(len(every.data))
    values = every.data.targets["offset"].values[records]
    mean = every.posterior(records, now).mean
    known = offset_error(every, now, records, records, mean)
    shuffled = offset_error(every, now, records, records, mean.flip(0))
    assert known < np.sqrt(np.square(values - values.mean(0)).sum(1).mean()) < shuffled


def test_coverage_is_a_share_and_wider_noise_covers_more(every: Embedded) -> None:
    reference = np.array([25, 50, 85])
    now = Condition(name="", present=NAMES, remembered={})
    q = every.posterior(reference, now)
    narrow = every.covered("rgb", q, reference)
    with torch.no_grad():
        every.model.log_scale["rgb"] += 1.0
    wide = every.covered("rgb", q, reference)
    assert ((narrow >= 0) & (narrow < wide) & (wide <= 1)).all()


def test_a_finished_run_is_taken_for_what_was_asked_alone(tmp_path: Path) -> None:
    config, nowhere = replace(debug(), max_steps=2), tmp_path / "no episodes"
    root = run(config, make_episodes(), tmp_path / "instant").root
    found, cost = trained("instant", config, nowhere, root)
    assert found.record.step == 2
    assert cost == {}
    for other, what in (
        (replace(config, max_steps=3), "--max-steps 2 -> 3"),
        (replace(config, model=replace(config.model, latent_dim=5)), "latent-dim"),
    ):
        with pytest.raises(RunError, match=f"is finished, with other settings: .*{what}"):
            trained("instant", other, nowhere, root)
