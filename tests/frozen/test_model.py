"""The frozen run and bundle give what they gave, the trainer its first losses and numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from smvae_core.modality import all_subsets, subset_name
from smvae_core.runtime import Runtime
from smvae_training.cli import main
from smvae_training.run import load_run
from tests.frozen import frozen
from tests.frozen.episodes import write_episodes

FOLDER = Path(__file__).parent
#: What a rebuilt core may differ by: rounding.
SAME = 1e-5
#: Of losses: other versions of torch round differently, and four steps carry that on.
SAME_LOSS = 1e-3


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episodes(tmp_path_factory.mktemp("frozen") / "episodes")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the frozen run, to write into."""
    return Path(shutil.copytree(FOLDER / "run", tmp_path_factory.mktemp("frozen") / "run"))


def hold(now: frozen.Arrays, then: frozen.Arrays) -> None:
    assert set(now) >= set(then)
    for name, expected in then.items():
        # a score is -log10 of a share of records, a step function
        tolerance = 1e-3 if name.endswith("/novelty") else SAME
        if expected.dtype == np.uint8:
            assert np.abs(now[name].astype(int) - expected).max() <= 1, name
        else:
            np.testing.assert_allclose(
                now[name], expected, rtol=tolerance, atol=tolerance, err_msg=name
            )


def test_the_frozen_bundle_gives_its_latents() -> None:
    """Posterior, novelty, readout of all 15 subsets, and predictions, on square and wide images."""
    then = frozen.load("latents.npz")
    assert sum(name.endswith("/mean") for name in then) == 15 * frozen.SAMPLES
    hold(frozen.latents(FOLDER / "bundle"), then)


def test_the_frozen_run_gives_the_same_latents_in_torch() -> None:
    import torch

    from smvae_core.preprocessing import normalise, prepare

    loaded, then = load_run(FOLDER / "run"), frozen.load("latents.npz")
    model = loaded.model
    for number, sample in enumerate(frozen.samples(model.names)):
        batch = {
            m.name: torch.from_numpy(
                normalise(m, loaded.statistics[m.name], prepare(m, sample[m.name]))
            )[None]
            for m in model.config.modalities
        }
        for subset in all_subsets(model.names):
            with torch.no_grad():
                found = model.encode(batch, torch.tensor([[n in subset for n in model.names]]))
            of = f"{number}/{subset_name(subset)}"
            np.testing.assert_allclose(found.mean[0], then[f"{of}/mean"], atol=SAME)
            np.testing.assert_allclose(
                found.variance.log()[0], then[f"{of}/log_var"], atol=SAME, rtol=SAME
            )


def test_an_old_run_still_evaluates(run: Path, episodes: Path) -> None:
    assert main(["evaluate", str(run), "--data", str(episodes), *frozen.FEW]) == 0
    now = frozen.ratios(run / "evaluation/results.json")
    then = json.loads((FOLDER / "ratios.json").read_text(encoding="utf-8"))
    assert {s: set(targets) for s, targets in now.items()} == {s: set(t) for s, t in then.items()}
    for subset, targets in then.items():
        for target, ratio in targets.items():
            assert now[subset][target] == pytest.approx(ratio, rel=1e-3), (subset, target)


def test_an_old_run_still_exports_the_same_bundle(
    run: Path, episodes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    assert main(["export", str(run), str(out), "--data", str(episodes)]) == 0
    hold(frozen.latents(out), frozen.load("latents.npz"))
    novelty = Runtime(out).manifest.novelty
    assert novelty is not None
    assert novelty.warn == pytest.approx(Runtime(FOLDER / "bundle").manifest.novelty.warn)


@pytest.mark.parametrize("variant", frozen.VARIANTS)
def test_golden_first_losses(variant: str, episodes: Path, tmp_path: Path) -> None:
    """Weights, shuffling, subsets and draws come from the same random numbers as they did."""
    golden = json.loads((FOLDER / "golden_losses.json").read_text(encoding="utf-8"))
    assert set(golden) == set(frozen.VARIANTS)
    found = frozen.first_losses(variant, episodes, tmp_path / "run")
    np.testing.assert_allclose(found, golden[variant], rtol=SAME_LOSS)


@pytest.mark.parametrize("preset", frozen.BUILT)
def test_models_have_the_same_keys_and_first_random_numbers(preset: str) -> None:
    """Weights of before load, and a seed builds the model that it built."""
    then = json.loads((FOLDER / "construction.json").read_text(encoding="utf-8"))[preset]
    now = frozen.construction(preset)
    assert list(now) == list(then)
    for key, (shape, size) in then.items():
        assert now[key][0] == shape, key
        assert now[key][1] == pytest.approx(size, rel=1e-4, abs=1e-7), key
