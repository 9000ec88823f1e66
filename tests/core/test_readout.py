"""The linear readout: its equations, its file, and every way it is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smvae_core.errors import ConfigError
from smvae_core.readout import LinearReadout, Readout

RNG = np.random.default_rng(0)
LINEAR = LinearReadout(
    offset_weights=RNG.normal(size=(3, 5)),
    offset_bias=np.array([0.1, 0.2, 0.3]),
    residual_m=np.array([0.01, 0.02, 0.03]),
    contact_weights=RNG.normal(size=5),
    contact_bias=-0.5,
)
READOUT = Readout(subsets={"rgb+force": LINEAR}, weights="abc", scores={"rgb+force": {}})
MEAN, VARIANCE = RNG.normal(size=5), RNG.uniform(0.1, 1.0, 5)


def test_offset_uncertainty_and_contact_follow_their_equations() -> None:
    found = READOUT.apply(("rgb", "force"), MEAN, VARIANCE)
    np.testing.assert_allclose(found.offset_m, LINEAR.offset_weights @ MEAN + LINEAR.offset_bias)
    propagated = LINEAR.offset_weights @ np.diag(VARIANCE) @ LINEAR.offset_weights.T
    np.testing.assert_allclose(found.std_m**2, np.diag(propagated) + LINEAR.residual_m**2)
    odds = math.exp(LINEAR.contact_weights @ MEAN - 0.5)
    assert found.contact == pytest.approx(odds / (1.0 + odds))


def test_certain_contact_does_not_overflow() -> None:
    sure = replace(LINEAR, contact_bias=1e6)
    assert sure.apply(MEAN, VARIANCE).contact == 1.0
    assert replace(LINEAR, contact_bias=-1e6).apply(MEAN, VARIANCE).contact == 0.0


def test_contact_that_was_not_labelled_is_not_a_number(tmp_path: Path) -> None:
    unlabelled = Readout(subsets={"rgb": replace(LINEAR, contact_bias=math.nan)})
    unlabelled.write(tmp_path / "readout.json")
    assert "NaN" not in (tmp_path / "readout.json").read_text()
    again = Readout.read(tmp_path / "readout.json")
    assert math.isnan(again.apply(("rgb",), MEAN, VARIANCE).contact)


def test_a_readout_survives_its_file(tmp_path: Path) -> None:
    READOUT.write(tmp_path / "readout.json")
    again = Readout.read(tmp_path / "readout.json")
    assert (again.weights, again.scores) == ("abc", {"rgb+force": {}})
    before, after = (r.apply(("rgb", "force"), MEAN, VARIANCE) for r in (READOUT, again))
    np.testing.assert_array_equal(before.offset_m, after.offset_m)
    np.testing.assert_array_equal(before.std_m, after.std_m)
    assert before.contact == after.contact


def test_another_subset_or_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"none for 'rgb', have rgb\+force"):
        READOUT.apply(("rgb",), MEAN, VARIANCE)
    with pytest.raises(ConfigError, match=r"expected mean and variance \(5,\), got \(4,\)"):
        READOUT.apply(("rgb", "force"), MEAN[:4], VARIANCE)
    with pytest.raises(ConfigError, match=r"expected offset weights \(3, 4\)"):
        replace(LINEAR, contact_weights=np.zeros(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual_m": np.array([0.01, np.nan, 0.01])}, "expected finite numbers"),
        ({"offset_weights": np.full((3, 5), np.inf)}, "expected finite numbers"),
        ({"contact_bias": math.inf}, "expected finite numbers"),
        ({"residual_m": np.array([0.01, -0.02, 0.01])}, "residuals of 0 or more"),
    ],
)
def test_numbers_that_no_fit_gives_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(LINEAR, **change)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "readout.json"
    with pytest.raises(ConfigError, match="is no readout"):
        Readout.read(path)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="is no readout: KeyError"):
        Readout.read(path)
    READOUT.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 9}))
    with pytest.raises(ConfigError, match="expected format 1, got 9"):
        Readout.read(path)
