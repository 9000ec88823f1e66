"""Estimates are calibrated on held-out records at export, and hold what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smvae_core.bundle import Bundle
from smvae_core.estimates import Decoded, Estimates
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Target
from smvae_training.calibrate.estimates import COVERED, HALF_WIDTH, factors
from smvae_training.cli import main
from smvae_training.exporting import export_run
from tests.training.told_runs import folder  # noqa: F401 (a fixture)

POSITION = DecodedTarget(name="p", mean=(0.0, 0.0, 5.0), deviation=(1.0, 1.0, 1.0))


def drawn(std: float, count: int = 4000) -> tuple[Decoded, Target]:
    """Return predictions with errors of `std` that claim 0.1, of numbers told, not told, still."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((count, 3))
    truth[:, 2] = 5.0
    value = truth + std * rng.standard_normal((count, 3))
    value[:, 1] = rng.standard_normal(count)
    value[:, 2] = 5.0
    covariance = np.tile(0.01 * np.eye(3), (count, 1, 1))
    return Decoded(value, covariance), Target(values=truth.astype(np.float32))


def test_factors_are_what_errors_ask_for() -> None:
    decoded, truth = drawn(0.3)
    found = factors(POSITION, decoded, truth)
    assert found[0] == pytest.approx(3.0, rel=0.05)
    assert np.isnan(found[1])  # no better than the mean
    assert found[2] == 1.0  # never changes: told by its mean, as sure as decoded
    inside = np.abs(decoded.value - truth.values)[:, 0] <= HALF_WIDTH * found[0] * 0.1
    assert inside.mean() == pytest.approx(COVERED, abs=0.002)


def test_records_that_do_not_tell_count_nowhere_and_too_few_tell_nothing() -> None:
    decoded, truth = drawn(0.3)
    values = truth.values.copy()
    values[10:] = np.nan
    assert np.isnan(factors(POSITION, decoded, Target(values=values))).all()


def test_a_binary_target_is_told_or_not() -> None:
    contact = DecodedTarget(name="c", mean=(0.5,), deviation=(0.5,), binary=True)
    truth = (np.arange(100)[:, None] % 2).astype(np.float32)
    for value, expected in ((0.1 + 0.8 * truth, 1.0), (np.full_like(truth, 0.5), np.nan)):
        decoded = Decoded(value.astype(np.float64), np.zeros((100, 1, 1)))
        np.testing.assert_array_equal(
            factors(contact, decoded, Target(values=truth, binary=True)), [expected]
        )


def test_export_calibrates_what_the_command_line_asked_to_decode(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "run"
    words = ["--preset", "debug", "--data", str(folder), "--out", str(out), "--no-report"]
    words += ["--data.held-out", "0.5", "--max-steps", "6", "--data.targets", "all"]
    assert main(["train", *words]) == 0
    bundle = Bundle.load(export_run(out, tmp_path / "bundle"))
    assert [t.name for t in bundle.manifest.targets] == ["offset", "hole", "contact"]
    fitted = bundle.estimate_calibration().fitted
    assert (fitted["records"], fitted["groups"]) == (150, 3)
    found = Estimates.of_bundle(bundle).apply(("rgb", "action"), np.zeros(8), np.ones(8))
    assert found["hole"].value.shape == (5,)
    folder.rename(tmp_path / "moved")
    try:
        gone = Bundle.load(export_run(out, tmp_path / "gone"))
    finally:
        (tmp_path / "moved").rename(folder)
    assert gone.manifest.estimates is None
    assert "estimates are not calibrated" in caplog.text
