"""Contenders do the same work, forms of a model are what they are called, the section says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.runtime_speed.forms import write_fp16, write_fused, write_int8
from benchmarks.runtime_speed.onnx_players import FusedGraph, OurRuntime
from benchmarks.runtime_speed.report import section
from smvae_core.bundle import Bundle
from smvae_core.modality import all_subsets
from smvae_core.model.config import ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics
from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime


@pytest.fixture(scope="module")
def model() -> SMVAE:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"latent_dim": 8, "embedding_dim": 32, "base_channels": 4}
    return SMVAE(ModelConfig(modalities=vision_touch(32), **sizes)).eval()


@pytest.fixture(scope="module")
def bundle(model: SMVAE, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    statistics = {
        "rgb": Statistics(),
        "depth": Statistics(),
        "force": Statistics(mean=(0.0,) * 6, scale=(1.0,) * 6),
        "action": Statistics(mean=(0.0,) * 4, scale=(1.0,) * 4),
    }
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    return Bundle.load(export_bundle(model, statistics, out))


def test_the_fused_graph_gives_our_posterior_of_every_subset(
    model: SMVAE, bundle: Bundle, tmp_path: Path
) -> None:
    graph = write_fused(model, tmp_path / "fused.onnx")
    fused, ours = FusedGraph(str(graph), str(bundle.path)), Runtime(bundle)
    for name, sample in fused.samples.items():
        ours.observe(name, sample, prepared=True)
    for subset in all_subsets(model.names):
        fused._update(subset, subset)
        expected = ours.posterior(subset)
        np.testing.assert_allclose(fused.graph.outputs[0][0], expected.mean, atol=1e-4)
        np.testing.assert_allclose(fused.graph.outputs[1][0], expected.log_var, atol=1e-4)


@pytest.mark.parametrize("form", [write_int8, write_fp16])
def test_another_precision_is_another_graph_with_nearly_the_same_posterior(
    form: Any, bundle: Bundle, tmp_path: Path
) -> None:
    other = form(bundle, tmp_path / "other")
    size = [sum(g.bytes for g in b.manifest.graphs.values()) for b in (bundle, other)]
    assert size[1] < size[0]
    found = []
    for each in (bundle, other):
        player = OurRuntime(str(each.path))
        found.append(player.runtime.posterior(("rgb", "depth")).mean)
    assert not np.array_equal(*found)
    np.testing.assert_allclose(*found, atol=0.05)


def test_the_section_names_a_slow_load_a_miss(tmp_path: Path) -> None:
    def loads(seconds: float) -> dict[str, Any]:
        turn = {"import_s": 0.5, "load_s": seconds, "cpu_s": 0.5 + seconds}
        return {"about": {}, "turns": [turn, turn]}

    machine = {
        "cpu": "a core",
        "cores": 2,
        "load": [1.0, 1.0, 1.0],
        "versions": {"python": "3.11"},
        "when": "2026-01-01T00:00:00",
    }
    for seconds, expected in ((0.2, "met by wall time, met by CPU"), (1.5, "**missed** by wall")):
        found = {"small": {"loading": {"machine": machine, "contenders": {"ours": loads(seconds)}}}}
        (tmp_path / "runtime-speed.json").write_text(json.dumps(found))
        assert expected in section(tmp_path)
