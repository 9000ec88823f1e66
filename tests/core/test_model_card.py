"""A card says of a bundle what its manifest says: sensors, data, measures, limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smvae_core.bundle import Bundle, Manifest, write_bundle
from smvae_core.model_card import CARD, MEASURES, model_card
from smvae_core.target import DecodedTarget

FROZEN = Path(__file__).resolve().parents[1] / "frozen/bundle"


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return Bundle.load(FROZEN).manifest


def row(card: str, name: str) -> list[str]:
    (line,) = (line for line in card.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_sensor_has_a_row_with_the_spread_in_its_own_unit(manifest: Manifest) -> None:
    card = model_card(manifest)
    for modality in manifest.modalities:
        cells = row(card, f"`{modality.name}`")
        assert cells[1] == f"`{modality.kind}`"
        assert cells[3] == modality.unit
    assert row(card, "`rgb`")[4] == f"{manifest.noise_scale['rgb']:.2g}"
    scales = manifest.statistics["force"].scale
    low, high = (manifest.noise_scale["force"] * pick(scales) for pick in (min, max))
    assert row(card, "`force`")[4] == f"{low:.2g} to {high:.2g}, by channel"


def test_data_and_weights_are_those_of_the_training(manifest: Manifest) -> None:
    card = model_card(manifest)
    training = manifest.training
    assert "4 trajectories in training, 2 held out." in card
    assert f"{training['step']} of {training['total_steps']} steps, seed 0." in card
    assert training["weights"] in card
    assert "Nobody said where the weights come from." in model_card(replace(manifest, training={}))


def test_measures_are_shown_where_the_run_was_evaluated(manifest: Manifest) -> None:
    assert "Not evaluated before it was exported" in model_card(manifest)
    subsets = {"rgb": {"depth": "0.5 ± 0.1"}, "force": {"depth": "0.9 ± 0.1", "rgb": "1.0"}}
    measures = {"what": "Squared error", "subsets": subsets}
    card = model_card(replace(manifest, training={**manifest.training, MEASURES: measures}))
    assert row(card, "observed") == ["observed", "depth", "rgb"]
    assert row(card, "rgb") == ["rgb", "0.5 ± 0.1", ""]
    assert row(card, "force") == ["force", "0.9 ± 0.1", "1.0"]
    assert "Not evaluated" not in card


def test_limits_name_what_is_not_calibrated(manifest: Manifest) -> None:
    assert "do not act on a latent" in model_card(manifest)
    bare = replace(manifest, novelty=None, suspicion=None)
    assert "novelty score is not calibrated" in model_card(bare)
    assert "Suspects are not calibrated" in model_card(bare)
    hole = DecodedTarget(
        name="hole", mean=(0.0,) * 3, deviation=(1.0,) * 3, unit="m", frame_id="base"
    )
    card = model_card(replace(bare, targets=(hole,)))
    assert row(card, "`hole`") == ["`hole`", "3", "m", "base"]
    assert "What it says of its targets is not calibrated." in card


def test_a_bundle_holds_its_card_and_loads_without(manifest: Manifest, tmp_path: Path) -> None:
    graphs = {role: FROZEN / graph.file for role, graph in manifest.graphs.items()}
    written = write_bundle(tmp_path / "bundle", manifest, graphs)
    card = tmp_path / "bundle" / CARD
    assert card.read_text(encoding="utf-8") == model_card(written.manifest)
    card.write_text("my own words")
    assert Bundle.load(tmp_path / "bundle").sha256 == written.sha256
    card.unlink()
    assert Bundle.load(tmp_path / "bundle").sha256 == written.sha256
