"""`smvae export --int8`: image embeddings in 8 bits, held to float32's errors, off by default."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError
from smvae_core.runtime import Runtime
from smvae_training.calibrate import eight_bits
from smvae_training.calibrate.novelty import NotCalibrated
from smvae_training.calibrate.readout import fit_readout
from smvae_training.cli import main
from smvae_training.exporting import export_run
from smvae_training.run import load_run
from smvae_training.trainer import prepare_data

IMAGES = {"embed/rgb", "embed/depth"}


def operators(bundle: Bundle, role: str) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(bundle.read_graph(role)).graph.node}


def test_image_embeddings_alone_become_eight_bits(run: Path, tmp_path: Path) -> None:
    fit_readout(run)
    exact = Bundle.load(export_run(run, tmp_path / "exact"))
    assert main(["export", str(run), str(tmp_path / "int8"), "--int8"]) == 0
    bundle = Bundle.load(tmp_path / "int8")
    before, after = exact.manifest.graphs, bundle.manifest.graphs
    assert {role for role in before if before[role] != after[role]} == IMAGES
    for role in IMAGES:
        assert "DynamicQuantizeLinear" in operators(bundle, role)
        assert "DynamicQuantizeLinear" not in operators(exact, role)
        assert after[role].bytes < 0.6 * before[role].bytes
    told = bundle.manifest.parity["int8"]
    assert set(told) == {"rgb", "depth", "rgb+depth+force+action"}
    for change in told.values():
        assert 0.0 < change["shift"] <= eight_bits.LARGEST_SHIFT
        assert all(0.9 < x <= eight_bits.LARGEST_ERROR for x in change["error"].values())
    assert bundle.manifest.novelty == exact.manifest.novelty
    assert bundle.manifest.readout == exact.manifest.readout is not None


def test_posteriors_stay_where_float32_has_them(run: Path, folder: Path, tmp_path: Path) -> None:
    bundles = [export_run(run, tmp_path / str(int8), int8=int8) for int8 in (False, True)]
    loaded = load_run(run)
    data = prepare_data(loaded.config, folder)
    runtimes = [Runtime(bundle) for bundle in bundles]
    moved = []
    for row in loaded.split(data).held_out[::5]:
        for runtime in runtimes:
            runtime.observe("rgb", data.arrays["rgb"][row], prepared=True)
        first, second = (runtime.posterior(("rgb",)) for runtime in runtimes)
        moved.append((second.mean - first.mean) / np.sqrt(first.variance))
    shift = float(np.sqrt(np.mean(np.square(moved))))
    assert 0.0 < shift < 0.1


def test_what_costs_too_much_is_refused_and_float32_stays(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eight_bits, "LARGEST_ERROR", 0.5)
    with pytest.raises(ConfigError, match=r"from rgb held-out errors grow to 1.0.*float32$"):
        export_run(run, tmp_path / "bundle", int8=True)
    bundle = Bundle.load(tmp_path / "bundle")
    assert "DynamicQuantizeLinear" not in operators(bundle, "embed/rgb")


def test_without_its_data_nothing_is_written(run: Path, folder: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    shutil.move(folder, away)
    try:
        with pytest.raises(NotCalibrated, match="no longer at"):
            export_run(run, tmp_path / "bundle", int8=True)
    finally:
        shutil.move(away, folder)
    assert not (tmp_path / "bundle").exists()
