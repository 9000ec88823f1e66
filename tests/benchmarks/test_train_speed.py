"""Trainers go on for a turn at a time, ours and theirs do the same work, the section says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.train_speed.networks import BATCH, OBJECTIVES
from benchmarks.train_speed.ours import OurTrainer
from benchmarks.train_speed.paced import Paced
from benchmarks.train_speed.report import section
from smvae_core.model.config import ModelConfig
from smvae_core.presets import vision_touch
from tests.datasets.conftest import make_episodes  # noqa: F401 (a fixture)

SMALL = ModelConfig(
    modalities=vision_touch(32), latent_dim=8, embedding_dim=32, base_channels=4, num_heads=1
)


def test_a_trainer_takes_a_turns_steps_and_waits() -> None:
    taken: list[int] = []
    a = torch.ones(10, 10)

    def train(stepped: Callable[[], None]) -> None:
        for step in range(8):
            torch.mm(a, a)
            taken.append(step)
            stepped()

    paced = Paced(train, 3)
    for steps in (4, 7):
        paced.turn()
        assert len(taken) == steps
        assert paced.gflop == pytest.approx(2 * 10**3 / 1e9)
    with pytest.raises(RuntimeError, match="the trainer ended"):
        paced.turn()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_ours_trains_by_its_own_loop(
    make_episodes: Callable[..., Path],  # noqa: F811
    objective: str,
) -> None:
    root = make_episodes(a=2, b=1, c=1)
    trainer = OurTrainer(str(root), objective, "32", 2, SMALL)
    for _ in range(2):
        turn = trainer.turn()
        assert turn["samples"] == 2 * BATCH
        assert turn["gflop_per_step"] > 0
    decoded = {"observed": 1.0, "complement": 2.0, "joint": 2.0}
    assert trainer.about["passes"]["decoder"] == decoded[objective]


@pytest.mark.parametrize("method", ["mvae", "mvae-joint", "mopoe"])
def test_theirs_trains_by_its_own_loop_and_encodes_each_subset(
    make_episodes: Callable[..., Path],  # noqa: F811
    method: str,
) -> None:
    try:
        from benchmarks.train_speed.theirs import MultiVaeTrainer
    except ImportError as err:
        pytest.skip(str(err))
    root = make_episodes(a=2, b=1, c=1)
    work = {}
    for precision in ("32", "bf16"):
        trainer = MultiVaeTrainer(str(root), method, precision, 2, SMALL)
        seen: list[str] = []
        for name, encoder in trainer._library.encoders.items():
            encoder.register_forward_hook(partial(_note, seen, name))
        turn = trainer.turn()
        assert turn["samples"] == 2 * BATCH
        work[precision] = turn["gflop_per_step"]
        # one batch of its sanity check, one that starts up, and the turn's
        assert len(seen) >= 4 * (2 if method == "mvae" else 1) * len(SMALL.modalities)
    assert work["bf16"] > 0


def _note(seen: list[str], name: str, *_: Any) -> None:
    seen.append(name)


def played(rate: float, **about: Any) -> dict[str, Any]:
    turn = {"samples": 32, "cpu_s": 32 / rate, "wall_s": 64 / rate, "gflop_per_step": 16.0}
    return {"about": about, "turns": [turn, turn]}


def test_the_section_takes_the_faster_precision_of_each_and_names_a_miss(tmp_path: Path) -> None:
    contenders: dict[str, Any] = {}
    for precision, ours, mvae, mopoe in (("32", 120.0, 30.0, 80.0), ("bf16", 180.0, 50.0, 70.0)):
        for objective in OBJECTIVES:
            contenders[f"ours, {objective} / {precision}"] = played(
                ours, passes={"embedding": 0.5, "decoder": 1.0}
            )
        contenders[f"MultiVae, mvae / {precision}"] = played(mvae)
        contenders[f"MultiVae, mopoe / {precision}"] = played(mopoe)
        contenders[f"matrix product / {precision}"] = {
            "about": {},
            "turns": [{"gflop_per_cpu_s": 120.0}] * 2,
        }
    machine = {
        "cpu": "a core",
        "cores": 1,
        "load": [0.5],
        "versions": {},
        "when": "2026-01-01T00:00",
        "threads": "1",
        "steps": 1,
    }
    found = {"machine": machine, "contenders": contenders}
    (tmp_path / "train-speed.json").write_text(json.dumps(found))
    rows = {
        tuple(cell.strip() for cell in line.split("|")[1:3]): line
        for line in section(tmp_path).splitlines()
        if line.startswith("|")
    }

    def row(target: str, what: str) -> str:
        return next(v for k, v in rows.items() if k[0] == target and k[1].startswith(what))

    assert "4.00" in row("4 x mvae", "float32 against")
    assert "| met |" in row("4 x mvae", "float32 against")
    assert "3.60" in row("4 x mvae", "our best against its best")
    assert "**missed**" in row("4 x mvae", "our best against its best")
    assert "2.25" in row("2 x mopoe", "our best against its best")  # which is float32 here
    # 120 samples of 0.5 GFLOP are half of the product's 120 GFLOP/s
    assert row("2 x mopoe", "float32").rstrip().endswith("3.0 |")


def test_the_section_says_what_was_not_run(tmp_path: Path) -> None:
    assert "Not run yet" in section(tmp_path)
