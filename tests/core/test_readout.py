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
from smvae_core.readout import Estimate, LinearMap, Quantity, Readout

RNG = np.random.default_rng(0)
OFFSET = LinearMap(
    weights=RNG.normal(size=(3, 5)),
    bias=np.array([0.1, 0.2, 0.3]),
    residual=np.array([0.01, 0.02, 0.03]),
)
CONTACT = LinearMap(weights=RNG.normal(size=(1, 5)), bias=np.array([-0.5]), residual=np.zeros(1))
READOUT = Readout(
    targets={
        "offset": Quantity(unit="m", fields=("x", "y", "z")),
        "contact": Quantity(binary=True),
    },
    subsets={"rgb+force": {"offset": OFFSET, "contact": CONTACT}},
    weights="abc",
    scores={"rgb+force": {}},
)
MEAN, VARIANCE = RNG.normal(size=5), RNG.uniform(0.1, 1.0, 5)


def test_offset_uncertainty_and_contact_follow_their_equations() -> None:
    found = READOUT.apply(("rgb", "force"), MEAN, VARIANCE)
    offset, contact = found["offset"], found["contact"]
    np.testing.assert_allclose(offset.value, OFFSET.weights @ MEAN + OFFSET.bias)
    propagated = OFFSET.weights @ np.diag(VARIANCE) @ OFFSET.weights.T
    np.testing.assert_allclose(offset.std**2, np.diag(propagated) + OFFSET.residual**2)
    odds = math.exp(CONTACT.weights[0] @ MEAN - 0.5)
    assert contact.value == pytest.approx([odds / (1.0 + odds)])
    assert np.isnan(contact.std).all()


def touching(bias: float) -> Estimate:
    return replace(CONTACT, bias=np.array([bias])).apply(MEAN, VARIANCE, binary=True)


def test_certain_contact_does_not_overflow() -> None:
    assert touching(1e6).value == 1.0
    assert touching(-1e6).value == 0.0


def test_contact_that_was_not_labelled_is_not_a_number(tmp_path: Path) -> None:
    unlabelled = replace(CONTACT, bias=np.array([math.nan]))
    readout = replace(READOUT, subsets={"rgb": {"offset": OFFSET, "contact": unlabelled}})
    readout.write(tmp_path / "readout.json")
    assert "NaN" not in (tmp_path / "readout.json").read_text()
    again = Readout.read(tmp_path / "readout.json")
    assert math.isnan(again.apply(("rgb",), MEAN, VARIANCE)["contact"].value[0])


def test_a_readout_survives_its_file(tmp_path: Path) -> None:
    READOUT.write(tmp_path / "readout.json")
    again = Readout.read(tmp_path / "readout.json")
    assert (again.weights, again.scores) == ("abc", {"rgb+force": {}})
    assert again.targets == READOUT.targets
    before, after = (r.apply(("rgb", "force"), MEAN, VARIANCE) for r in (READOUT, again))
    np.testing.assert_array_equal(before["offset"].value, after["offset"].value)
    np.testing.assert_array_equal(before["offset"].std, after["offset"].std)
    assert before["contact"].value == after["contact"].value


@pytest.mark.parametrize("bias", [-0.5, None])
def test_a_file_of_format_1_is_read(tmp_path: Path, bias: float | None) -> None:
    """Of a peg's offset and contact, which were all that a readout knew."""
    linear = {
        "offset_weights": OFFSET.weights.tolist(),
        "offset_bias": OFFSET.bias.tolist(),
        "residual_m": OFFSET.residual.tolist(),
        "contact_weights": CONTACT.weights[0].tolist(),
        "contact_bias": bias,
    }
    data = {"format": 1, "unit": "m", "weights": "abc", "fitted": {}, "scores": {}}
    path = tmp_path / "readout.json"
    path.write_text(json.dumps(data | {"subsets": {"rgb+force": linear}}))
    found = Readout.read(path)
    assert found.targets == READOUT.targets
    expected = READOUT.apply(("rgb", "force"), MEAN, VARIANCE)
    again = found.apply(("rgb", "force"), MEAN, VARIANCE)
    np.testing.assert_array_equal(again["offset"].value, expected["offset"].value)
    np.testing.assert_array_equal(again["offset"].std, expected["offset"].std)
    if bias is None:
        assert np.isnan(again["contact"].value).all()
    else:
        assert again["contact"].value == expected["contact"].value


def test_another_subset_or_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"none for 'rgb', have rgb\+force"):
        READOUT.apply(("rgb",), MEAN, VARIANCE)
    with pytest.raises(ConfigError, match=r"expected mean and variance \(5,\), got \(4,\)"):
        READOUT.apply(("rgb", "force"), MEAN[:4], VARIANCE)
    with pytest.raises(ConfigError, match=r"expected weights \(K, Z\)"):
        replace(OFFSET, weights=np.zeros(4))
    with pytest.raises(ConfigError, match=r"expected weights \(K, Z\)"):
        replace(OFFSET, bias=np.zeros(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual": np.array([0.01, np.nan, 0.01])}, "expected finite numbers"),
        ({"weights": np.full((3, 5), np.inf)}, "expected finite numbers"),
        ({"bias": np.full(3, math.inf)}, "expected finite numbers"),
        ({"residual": np.array([0.01, -0.02, 0.01])}, "residuals of 0 or more"),
    ],
)
def test_numbers_that_no_fit_gives_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(OFFSET, **change)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "readout.json"
    with pytest.raises(ConfigError, match="is no readout"):
        Readout.read(path)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="is no readout: KeyError"):
        Readout.read(path)
    READOUT.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 9}))
    with pytest.raises(ConfigError, match="expected format 1 or 2, got 9"):
        Readout.read(path)
