"""The benchmark of the humanoid, on the smallest episodes: both models are scored alike."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.robots.humanoid import compare, supervised
from smvae_training.presets import debug
from smvae_training.run import RunPaths, RunRecord
from smvae_training.trainer import prepare_data, train_on
from tests.frozen.episodes import write_episodes


def test_both_are_scored_on_the_same_records(tmp_path: Path) -> None:
    write_episodes(tmp_path / "episodes")
    config = debug()
    config = replace(config, data=replace(config.data, held_out=0.34))
    data = prepare_data(config, tmp_path / "episodes")
    found = compare(config, data, tmp_path, "rgb", "action")
    assert set(found["smvae"]) == {"rgb", "depth", "force", "action", "rgb+depth+force+action"}
    assert found["smvae"]["action"]["records"] == found["supervised"]["records"] > 0
    assert found["code"]
    assert any(line.startswith("pooling: ") for line in found["settings"])
    ratio = found["smvae"]["action"]["mean"] / found["supervised"]["mean"]
    assert math.isclose(found["joints_over_supervised"], ratio)


def test_a_stopped_benchmark_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    write_episodes(tmp_path / "episodes")
    config = debug()
    config = replace(config, data=replace(config.data, held_out=0.34))
    data = prepare_data(config, tmp_path / "episodes")
    straight = compare(config, data, tmp_path / "straight", "rgb", "action")
    stopped = RunPaths(tmp_path / "stopped" / "smvae")
    train_on(config, data, stopped, None, "benchmark", stop_after=config.max_steps // 2)
    assert RunRecord.read(stopped.config).step == config.max_steps // 2
    resumed = compare(config, data, tmp_path / "stopped", "rgb", "action")
    assert resumed["smvae"] == straight["smvae"]
    assert compare(config, data, tmp_path / "stopped", "rgb", "action") == resumed


def test_the_supervised_network_sees_nothing_but_the_joints() -> None:
    config = debug()
    torch.manual_seed(0)
    model, objective = supervised("rgb", "action")(config)
    batch = {m.name: torch.from_numpy(m.example(4)) for m in config.model.modalities}
    recorded = torch.ones(4, 4, dtype=torch.bool)
    recorded[1, model.names.index("action")] = False  # cannot be drawn from
    objective(model, batch, recorded, recorded, 1.0, config.objective).loss.backward()
    touched = {
        n.split(".")[1]
        for n, p in model.named_parameters()
        if p.grad is not None and p.grad.any() and n.startswith(("embeddings", "decoders"))
    }
    assert touched == {"action", "rgb"}
    assert not any(p.grad is not None for p in model.embeddings["rgb"].parameters())
    assert not any(p.grad is not None for p in model.decoders["action"].parameters())
