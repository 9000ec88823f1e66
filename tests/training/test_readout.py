"""What the latent says of the task: fitted, written into the bundle, refused where it must be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from smvae_core.bundle import Bundle
from smvae_core.errors import BundleError
from smvae_core.modality import find
from smvae_core.preprocessing import raw_sample
from smvae_core.runtime import Runtime
from smvae_datasets.vision_touch.prepared import PreparedEpisodes, prepare_episodes
from smvae_training.calibrate.readout import fit_readout
from smvae_training.cli import main
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.exporting import export_run
from smvae_training.run import RunError, load_run
from tests.training.told_runs import write_episodes


def test_run_and_bundle_give_the_same_readout(run: Path, exported: Path, folder: Path) -> None:
    of_run, path = fit_readout(run)
    assert path == run / "readout.json"
    copy = Path(shutil.copytree(exported, run.parent / "bundle"))
    before = Bundle.load(copy)
    of_bundle, _ = fit_readout(copy, folder)
    bundle = Bundle.load(copy)
    assert bundle.readout().weights == of_run.weights == of_bundle.weights
    assert bundle.manifest.graphs == before.manifest.graphs
    assert bundle.manifest.novelty == before.manifest.novelty
    assert bundle.sha256 != before.sha256
    assert set(of_run.subsets) == set(of_bundle.subsets)
    for label, maps in of_run.subsets.items():
        residual_m, other = maps["offset"].residual, of_bundle.subsets[label]["offset"]
        np.testing.assert_allclose(residual_m, other.residual, rtol=0.02)
        found = of_run.scores[label]["offset"]["rmse_mm"].values()
        np.testing.assert_allclose(residual_m, 1e-3 * np.array([*found]))


def test_a_readout_predicts_what_it_was_scored_on(run: Path, folder: Path) -> None:
    readout, _ = fit_readout(run)
    loaded = load_run(run)
    episodes: PreparedEpisodes = prepare_episodes(
        folder, loaded.model_config.modalities, progress=False
    )
    index = loaded.split(episodes).held_out
    records = Records.of(episodes, index, len(index))
    posterior = Predictor(loaded.model, loaded.statistics, records).posterior(("rgb", "force"))
    means, variances = posterior.mean.numpy(), posterior.log_var.exp().numpy()
    found = [readout.apply(("rgb", "force"), z, v) for z, v in zip(means, variances, strict=True)]
    error = np.array([f["offset"].value for f in found]) - episodes.targets["offset"].values[index]
    rmse = np.sqrt(np.square(error).mean(axis=0))
    residual_m = readout.subsets["rgb+force"]["offset"].residual
    np.testing.assert_allclose(rmse, residual_m, rtol=1e-3)
    contact = episodes.targets["contact"].values[index, 0]
    right = np.mean([f["contact"].value[0] > 0.5 for f in found] == contact)
    assert right == pytest.approx(readout.scores["rgb+force"]["contact"]["accuracy"])
    assert all((f["offset"].std >= residual_m).all() for f in found)


def test_export_takes_the_runs_readout_along_if_it_is_of_the_same_weights(
    run: Path, tmp_path: Path
) -> None:
    fit_readout(run)
    bundle = Bundle.load(export_run(run, tmp_path / "bundle"))
    assert bundle.readout().subsets
    data = json.loads((run / "readout.json").read_text())
    (run / "readout.json").write_text(json.dumps(data | {"weights": "0" * 64}))
    with pytest.raises(RunError, match=r"readout.json is of other weights: run `smvae readout"):
        export_run(run, tmp_path / "bundle")


def test_a_changed_readout_file_is_refused(run: Path, tmp_path: Path) -> None:
    fit_readout(run)
    path = export_run(run, tmp_path / "bundle")
    text = (path / "readout.json").read_text()
    (path / "readout.json").write_text(text.replace('"unit": "m"', '"unit": "k"'))
    with pytest.raises(BundleError, match=r"readout\.json was changed"):
        Bundle.load(path)
    (path / "readout.json").unlink()
    with pytest.raises(BundleError, match=r"incomplete: readout\.json"):
        Bundle.load(path)


def test_the_readout_command_prints_its_scores_and_names_what_is_wrong(
    run: Path,
    exported: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["readout", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "rgb+depth+force+action" in printed
    assert "a constant" in printed
    copy = Path(shutil.copytree(exported, tmp_path / "bundle"))
    assert main(["readout", str(copy)]) == 2
    assert "say it with --data" in capsys.readouterr().err
    with pytest.raises(BundleError, match="has no readout; `smvae readout BUNDLE"):
        Bundle.load(copy).readout()
    others = tmp_path / "others"
    others.mkdir()
    write_episodes(others, 1)
    assert main(["readout", str(copy), "--data", str(others)]) == 2
    assert "was trained on other data" in capsys.readouterr().err
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["training"]["held_out_trajectories"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert main(["readout", str(copy), "--data", str(folder)]) == 2
    assert "does not say which trajectories trained it" in capsys.readouterr().err


def test_raw_samples_are_what_sensors_give(exported: Path, held_out: Records) -> None:
    runtime = Runtime(exported)
    for m in runtime.modalities:
        runtime.observe(m.name, raw_sample(m, held_out.prepared[m.name][0]))
    depth = find(runtime.modalities, "depth")
    assert raw_sample(depth, held_out.prepared["depth"][0]).shape == (32, 32)
