"""The comparison of computed targets: one set of records for all, each beside the first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import self_supervised
from benchmarks.self_supervised import compare
from smvae_training.presets import debug
from tests.training.conftest import make_episodes


def test_every_option_is_trained_once_and_scored_beside_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = {name: self_supervised.OPTIONS[name] for name in ("none", "contact", "pairing")}
    monkeypatch.setattr(self_supervised, "OPTIONS", some)
    monkeypatch.setattr(self_supervised, "LAST", 3)
    config = debug()
    config = replace(config, data=replace(config.data, held_out=0.4))
    data = make_episodes()
    *_, first = compare(data, config, 4, 0, tmp_path, {})
    assert list(first["contact"]["rules"]) == ["next_contact"]
    assert first["none"]["rules"] == first["pairing"]["rules"] == {}
    assert first["pairing"]["log_likelihood_of_pairing"] < 0
    of_none, of_contact = (first[n]["subsets"]["rgb"] for n in ("none", "contact"))
    assert {r["mean"] for r in of_none["over the first"].values()} <= {0.0, 1.0}
    ratio = of_contact["rgb"] / of_none["rgb"]
    assert of_contact["over the first"]["rgb"]["pooled"] == pytest.approx(ratio, rel=1e-3)
    assert "accuracy" in of_contact["computed"]["next_contact"]
    *_, again = compare(data, config, 4, 0, tmp_path, first)
    assert json.dumps(again) == json.dumps(first)  # a NaN equals itself so
