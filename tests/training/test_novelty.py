"""From a run to a bundle that knows when it is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smvae_core.bundle import READ, Bundle
from smvae_core.kinds.signal import slowed
from smvae_core.modality import all_subsets, subset_name
from smvae_core.preprocessing import raw_sample
from smvae_core.runtime import Runtime
from smvae_training.calibrate.novelty import NotCalibrated, calibrate, statistics_of
from smvae_training.cli import main
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.run import load_run
from tests.training.told_runs import STEPS, TRIALS, write_episodes


def observe(runtime: Runtime, records: Records, row: int, **instead: np.ndarray) -> None:
    for m in runtime.modalities:
        sample = instead.get(m.name, raw_sample(m, records.prepared[m.name][row]))
        runtime.observe(m.name, sample)


def score(runtime: Runtime, subset: tuple[str, ...]) -> float:
    return runtime.novelty(subset, runtime.posterior(subset))


def test_export_calibrates_on_the_runs_held_out_trajectories(exported: Path) -> None:
    novelty = Bundle.load(exported).manifest.novelty
    assert novelty is not None
    assert (novelty.warn, novelty.error) == (2.0, 3.0)
    assert novelty.calibration["records"] == TRIALS // 2 * STEPS
    assert novelty.calibration["groups"] == TRIALS // 2
    names = Bundle.load(exported).manifest.names
    assert set(novelty.subsets) == {subset_name(s) for s in all_subsets(names)}


def test_a_score_means_the_same_for_every_subset(trained: Path, held_out: Records) -> None:
    run = load_run(trained)
    novelty = calibrate(run.model, run.statistics, held_out)
    found = statistics_of(Predictor(run.model, run.statistics, held_out))
    for subset in all_subsets(run.model.names):
        scores = novelty.score(subset, found[subset_name(subset)])
        for surprise, share in ((0.3, 0.5), (1.0, 0.1)):
            assert np.mean(scores >= surprise) == pytest.approx(share, abs=0.02)
        assert np.mean(scores >= novelty.error) < 0.02


def test_live_scores_are_those_of_the_calibration(
    trained: Path, exported: Path, held_out: Records
) -> None:
    run, runtime = load_run(trained), Runtime(exported)
    found = statistics_of(Predictor(run.model, run.statistics, held_out))
    novelty = runtime.manifest.novelty
    assert novelty is not None
    for row in (0, 77):
        observe(runtime, held_out, row)
        for subset in all_subsets(runtime.manifest.names):
            report = runtime.novelty_report(subset, runtime.posterior(subset))
            statistics = {k: v[row] for k, v in found[subset_name(subset)].items()}
            for key, surprise in report.surprises.items():
                if key.split("/")[-2:] in (["texture", "force"], ["smooth", "force"]):
                    continue  # calibrated at the worst of several rates of the sensor
                expected = float(novelty.components[key].surprise(statistics[key]))
                assert surprise == pytest.approx(expected, abs=5e-3), (key, row)
            assert set(report.surprises) == set(statistics)
            assert report.surprises[report.worst] == max(report.surprises.values())


def test_a_score_costs_one_run_of_the_set_encoder_and_reads_new_samples_once(
    exported: Path, held_out: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(exported)
    names = runtime.manifest.names
    run, bound, runs = runtime._sessions.run, runtime._sessions.bound, Counter[str]()

    def count(role: str, inputs: Mapping[str, np.ndarray]) -> None:
        runs[role] += 1
        runs[f"rows of {role}"] += inputs.get("present", np.zeros(0)).shape[0]
        runs["rows read"] += inputs["embeddings"].shape[1] if role == READ else 0

    def counted(role: str, **inputs: np.ndarray) -> list[np.ndarray]:
        count(role, inputs)
        return run(role, **inputs)

    def counted_bound(role: str, inputs: Any, outputs: Any) -> Callable[[], None]:
        once = bound(role, inputs, outputs)
        return lambda: (count(role, inputs), once())[1]

    monkeypatch.setattr(runtime._sessions, "run", counted)
    monkeypatch.setattr(runtime._sessions, "bound", counted_bound)
    observe(runtime, held_out, 0)
    score(runtime, names)
    assert (runs["set_encoder"], runs["rows of set_encoder"]) == (2, 1 + 2 * len(names))
    assert (runs[READ], runs["rows read"]) == (1, len(names))
    runtime.observe("force", raw_sample(runtime.modality("force"), held_out.prepared["force"][1]))
    score(runtime, names)
    assert runs["rows of set_encoder"] == 1 + 2 * len(names) + 1 + len(names) + 1
    assert (runs[READ], runs["rows read"]) == (2, len(names) + 1)


def test_the_nll_is_that_of_the_gaussian_likelihood(exported: Path, held_out: Records) -> None:
    runtime = Runtime(exported)
    observe(runtime, held_out, 3)
    posterior = runtime.posterior(("action",))
    report = runtime.novelty_report(("action",), posterior)
    x, statistics = held_out.prepared["action"][3], runtime.manifest.statistics["action"]
    x = (x - np.array(statistics.mean)) / np.array(statistics.scale)
    scale = runtime.manifest.noise_scale["action"]
    residual = (x - runtime.decode("action", posterior.mean)) / scale
    expected = np.mean(0.5 * residual**2) + np.log(scale * np.sqrt(2 * np.pi))
    assert report.nll == {"action": pytest.approx(expected, rel=1e-4)}


def test_a_dead_sensor_is_out_of_distribution_and_a_new_sample_is_not(
    exported: Path, held_out: Records
) -> None:
    runtime = Runtime(exported)
    names = runtime.manifest.names
    error = runtime.manifest.novelty.error  # type: ignore[union-attr]
    black = np.zeros((32, 32, 3), np.uint8)
    observe(runtime, held_out, 5)
    before = score(runtime, names)
    assert before < error
    observe(runtime, held_out, 5, rgb=black)
    for subset in all_subsets(names):
        if "rgb" in subset:
            assert score(runtime, subset) > error, subset
    observe(runtime, held_out, 5)  # nothing of the black image is kept
    assert score(runtime, names) == pytest.approx(before)


def test_a_slower_force_sensor_is_no_fault(exported: Path, held_out: Records) -> None:
    runtime = Runtime(exported)
    window = held_out.prepared["force"][9]
    for factor in (1, 2, 5, 10):
        slow = slowed(window[None], factor)[0]
        np.testing.assert_array_equal(slow[:, -1], window[:, -1])
        observe(runtime, held_out, 9, force=slow.T)
        assert score(runtime, ("force",)) < 3.0, factor
    observe(runtime, held_out, 9, force=np.zeros((32, 6), np.float32))
    assert score(runtime, ("force",)) > 3.0


def test_slowed_windows_lie_on_lines_between_the_readings_that_are_kept() -> None:
    window = np.random.default_rng(0).normal(size=(1, 2, 32)).astype(np.float32)
    slow = slowed(window, 5)
    kept = np.arange(31, -1, -5)
    np.testing.assert_allclose(slow[..., kept], window[..., kept], atol=1e-6)
    np.testing.assert_allclose(slow[..., 28], 0.6 * window[..., 26] + 0.4 * window[..., 31], 1e-4)


def test_too_few_records_do_not_calibrate(trained: Path, held_out: Records) -> None:
    few = Records(
        prepared={k: v[:30] for k, v in held_out.prepared.items()}, group=held_out.group[:30]
    )
    run = load_run(trained)
    with pytest.raises(NotCalibrated, match="30 held-out records, 100 are needed"):
        calibrate(run.model, run.statistics, few)


def test_an_export_without_its_data_says_so_and_has_no_novelty(
    run: Path, tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(record | {"data_path": "/nowhere/episodes"}))
    out = tmp_path / "bundle"
    assert main(["export", str(run), str(out)]) == 0
    said = caplog.text
    assert "novelty is not calibrated: the run's data are no longer at /nowhere/episodes" in said
    assert "--data DIR" in said
    manifest = json.loads((out / "manifest.json").read_text())
    assert "novelty" not in manifest  # reads as bundles always did
    runtime = Runtime(out)
    posterior = runtime.infer({"action": np.zeros(4, np.float32)})
    assert np.isnan(runtime.novelty(("action",), posterior))
    assert main(["export", str(run), str(out), "--data", str(folder)]) == 0
    assert Bundle.load(out).manifest.novelty is not None


def test_an_export_with_too_few_records_does_not_send_for_other_data(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smvae_training.calibrate.novelty.LEAST_RECORDS", 10**6)
    assert main(["export", str(run), str(tmp_path / "bundle")]) == 0
    assert "novelty is not calibrated: " in caplog.text
    assert "held-out records, 1000000 are needed" in caplog.text
    assert "--data DIR" not in caplog.text


def test_other_data_by_hand_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = tmp_path / "others"
    others.mkdir()
    write_episodes(others, 1)
    assert main(["export", str(run), str(tmp_path / "bundle"), "--data", str(others)]) == 2
    assert "was trained on other data" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
