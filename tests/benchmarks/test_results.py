"""What may stand in one table, how differences are paired, what the paper's table breaks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.paper.experiments import EXPERIMENTS, LEARNING_RATES, lookup
from benchmarks.paper.variants import METHODS
from benchmarks.tables.__main__ import draw, render
from benchmarks.tables.paired import ResultsError, difference, read_results, summarise
from benchmarks.tables.pairs import PROPOSALS, QUANTITIES
from benchmarks.tables.published import TABLE_1, contradictions
from benchmarks.tables.robot import SUBSETS
from smvae_core.errors import ConfigError

KEYS = [f"{p}/{q}" for p in PROPOSALS for q in QUANTITIES]


def write(folder: Path, method: str, seed: int, shift: float, *, steps: int = 100, items: int = 50):
    """Write a result as the queue does: shared noise plus `shift`, log p(x) 0.25 x seed above."""
    values = np.random.default_rng(seed).normal(-90, 5, items) + shift
    arrays = {k: (values + 0.25 * seed * ("marginal" in k)).astype(np.float32) for k in KEYS}
    name = f"mnist-binarised.{method}.seed{seed}"
    np.savez(folder / f"{name}.npz", index=np.arange(items), **arrays)
    likelihoods = {"proposals": {p: {"ess_joint": {"median": 9.0, "min": 1.0}} for p in PROPOSALS}}
    about = {
        "experiment": "mnist-binarised",
        "method": method,
        "seed": seed,
        "code": "abc",
        "versions": {"cpu_count": "2"},
        "hardware": {"accelerator": "cpu", "precision": "32"},
        "budget": {
            "steps": steps,
            "batch_size": 100,
            "lr": 1e-3,
            "training_seconds": 7,
            "passes": {"embedding": 1.0, "decoder": 2.0},
        },
        "scores": {"likelihoods": likelihoods, "checks": [{"name": "a", "passed": True}]},
    }
    (folder / f"{name}.json").write_text(json.dumps(about))


def test_a_paired_difference_has_a_much_smaller_error_than_the_means(tmp_path: Path):
    for seed in (0, 1):
        write(tmp_path, "smvae", seed, 1.5)
        write(tmp_path, "mvae", seed, 0.0)
    results = read_results(tmp_path, "mnist-binarised")
    gap = difference(results["smvae"], results["mvae"], KEYS[0])
    assert gap.mean == pytest.approx(1.5, abs=1e-4)
    assert gap.item_error < 1e-4 < summarise(results["mvae"].items[KEYS[0]]).item_error


def test_the_models_own_label_likelihood_is_joint_minus_marginal(tmp_path: Path):
    for seed in (1, 2):
        write(tmp_path, "smvae", seed, 1.5)
    assert "\n| smvae | - | - | - | -0.375 ± 0.125 | - |" in render(tmp_path)


def test_what_has_no_result_yet_is_said(tmp_path: Path):
    for seed in (0, 2):
        write(tmp_path, "smvae", seed, 1.0)
    for method in ("mvae", "jmvae"):
        for seed in (0, 1, 2):
            write(tmp_path, method, seed, 0.0)
    text = render(tmp_path)
    assert "Not run yet: smvae (seed 1), mmvae, mopoe, smvae-paper, hirt.\n" in text
    assert "## Fashion-MNIST, grey levels, with labels\n\nNot run yet.\n" in text


def test_a_difference_over_some_of_our_seeds_says_which(tmp_path: Path):
    for seed in (0, 1):
        write(tmp_path, "smvae", seed, 1.0)
        write(tmp_path, "mvae", seed, -1.0)
    write(tmp_path, "jmvae", 0, 0.0)
    text = render(tmp_path)
    assert "\n| jmvae, seed 0 alone | +1.00" in text
    assert "\n| mvae | +2.00" in text
    assert "ahead of the best peer, jmvae, seed 0 alone, by +1.00" in text


def test_differences_are_paired_over_the_seeds_that_both_have(tmp_path: Path):
    write(tmp_path, "smvae", 0, 1.0)
    write(tmp_path, "smvae", 1, 99.0)
    write(tmp_path, "mvae", 0, 0.0)
    results = read_results(tmp_path, "mnist-binarised")
    assert difference(results["smvae"], results["mvae"], KEYS[0]).mean == pytest.approx(1, abs=1e-4)
    write(tmp_path, "jmvae", 2, 0.0)
    results = read_results(tmp_path, "mnist-binarised")
    with pytest.raises(ResultsError, match="no seed in common"):
        difference(results["mvae"], results["jmvae"], KEYS[0])


@pytest.mark.parametrize("other", [{"steps": 200}, {"items": 40}])
def test_runs_of_other_budgets_or_items_never_share_a_table(tmp_path: Path, other: dict):
    write(tmp_path, "smvae", 0, 1.0)
    write(tmp_path, "mvae", 0, 0.0, **other)
    with pytest.raises(ResultsError, match="never share a table"):
        read_results(tmp_path, "mnist-binarised")


def test_a_loss_is_printed_as_a_loss(tmp_path: Path):
    write(tmp_path, "smvae", 0, 0.0)
    write(tmp_path, "mvae", 0, 2.0)
    text = render(tmp_path)
    assert "LOSES to the best peer, mvae, by -2.00" in text
    assert "ahead of" not in text.partition("## Fashion")[0]
    write(tmp_path, "mvae", 0, -2.0)
    assert "ahead of the best peer, mvae, by +2.00" in render(tmp_path)


def test_the_papers_own_rows_contradict_themselves_on_every_data_set():
    for data_set, rows in TABLE_1.items():
        assert len(contradictions(rows["SMVAE"])) == 2, data_set
        assert contradictions(rows["MVAE"]) == []
        assert contradictions(rows["JMVAE"]) == []
    assert contradictions((-90.0, -89.0, -88.0, -90.0, -89.0, -88.0)) == []
    assert contradictions((-90.0, -91.0, None, None, None, None)) == ["log p(x,y) > log p(x)"]
    nan = float("nan")
    assert len(contradictions((-90.0, nan, nan, None, None, None))) == 2


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=lambda e: e.name)
def test_all_methods_of_an_experiment_differ_only_in_model_and_objective(experiment):
    configs = [
        experiment.config(METHODS[m], seed=0, lr=LEARNING_RATES[0]).to_json()
        for m in experiment.methods
    ]
    for config in configs:
        for own in ("pooling", "covariance"):
            config["model"].pop(own)
        for own in ("target", "second_bound", "samples", "complement"):
            config["objective"].pop(own)
    assert all(config == configs[0] for config in configs)


def test_an_unknown_method_is_named():
    with pytest.raises(ConfigError, match=r"unknown method 'mave'.*Did you mean 'mvae'"):
        lookup(METHODS, "mave", "method")


def test_the_toy_shows_which_set_encoder_counts_evidence(tmp_path: Path):
    assert "Not run yet: `python -m benchmarks.paper.ablation_toy`" in render(tmp_path)
    ratio = {"1": 0.95, "2": 1.05}
    rows = [
        {"pooling": "evidence", "copies": 0, "ratio": ratio, "extremes": [0.8, 1.2]},
        {"pooling": "paper", "copies": 0, "ratio": ratio | {"2": 1.2}, "extremes": [0.6, 1.3]},
        {"pooling": "evidence", "copies": 1, "ratio": ratio, "extremes": [0.7, 1.4]},
    ]
    found = {"steps": 10, "seeds": [0, 1], "code": "abc", "rows": rows}
    (tmp_path / "linear-gaussian.json").write_text(json.dumps(found))
    text = render(tmp_path)
    assert "| **evidence** | 0.950 | 1.050 | 0.800 | 1.200 |" in text
    assert "| paper | 0.950 | 1.200 | 0.600 | 1.300 |" in text
    assert "1 such sensors and 1 exact copies" in text


def write_robot(folder: Path, method: str, shift: float, subsets: list[str], seed: int = 0) -> None:
    """Write a robot result whose predictive values and errors are shared noise plus `shift`."""
    write(folder, method, seed, 0.0)
    name = f"mnist-binarised.{method}.seed{seed}"
    about = json.loads((folder / f"{name}.json").read_text()) | {"experiment": "simulated-robot"}
    about["scores"] = {"checks": [], "entropies": {"share_not_rising": 0.75}}
    about["noise_scale"] = {"rgb": 0.05, "depth": 0.04, "force": 0.3, "action": 0.02}
    noise = np.random.default_rng(seed).normal(1000, 50, 40)
    arrays = {"index": np.arange(40), "group": np.repeat(np.arange(4), 10)}
    for subset in subsets:
        arrays |= {f"{subset}/predictive": noise + shift, f"{subset}/evidence": noise}
        arrays |= {f"{subset}/error/{image}": 0.01 - 1e-5 * shift + 0 * noise for image in IMAGES}
    (folder / f"{name}.json").unlink()
    (folder / f"{name}.npz").unlink()
    name = f"simulated-robot.{method}.seed{seed}"
    (folder / f"{name}.json").write_text(json.dumps(about))
    np.savez(folder / f"{name}.npz", **arrays)


IMAGES = ("rgb", "depth")


def test_a_method_that_cannot_encode_a_subset_is_marked_and_left_out(tmp_path: Path):
    write_robot(tmp_path, "smvae", 5.0, SUBSETS)
    write_robot(tmp_path, "mvae", 0.0, SUBSETS)
    write_robot(tmp_path, "jmvae", 99.0, ["rgb", "depth", "force", "action", SUBSETS[-1]])
    text = render(tmp_path)
    won = "has the best predictive log likelihood in"
    assert f"among the peers, `smvae` {won} 10 of 15 subsets; LOSES rgb (jmvae, -94 ± 0)" in text
    assert f"among all methods listed, `smvae` {won} 10 of 15 subsets" in text
    assert "| observed | minus mvae | minus jmvae |" in text
    assert "| rgb | +5 ± 0 | -94 ± 0 |" in text
    assert "| mean of 15 | +5 ± 0 | cannot |" in text
    assert "| smvae | 0.0500 | 0.0400 | 0.3000 | 0.0200 | 0.750 |" in text
    least = "- rgb from force+action: `smvae` the least error; minus mvae, the best other, -0.05e-3"
    assert f"{least} (one seed)" in text


def test_the_robots_differences_are_over_the_seeds_that_both_have(tmp_path: Path):
    write_robot(tmp_path, "smvae", 5.0, SUBSETS)
    write_robot(tmp_path, "smvae", -501.0, SUBSETS, seed=1)
    write_robot(tmp_path, "mvae", 0.0, SUBSETS)
    text = render(tmp_path)
    assert "best predictive log likelihood in 15 of 15 subsets" in text
    assert "| mean of 15 | +5 ± 0 |" in text
    write_robot(tmp_path, "mvae", 0.0, SUBSETS, seed=1)
    text = render(tmp_path)
    assert "in 0 of 15 subsets; LOSES rgb (mvae, -248 ± 0 / 253)" in text
    assert "`smvae` LOSES; minus mvae, the best other, +2.48e-3 (± 2.53e-3 over seeds)" in text


def test_a_robot_result_that_stands_alone_wins_nothing(tmp_path: Path):
    write_robot(tmp_path, "smvae", 5.0, SUBSETS)
    text = render(tmp_path).partition("## Simulated robot")[2].partition("## The paper")[0]
    assert "nothing to compare with" in text
    assert "best" not in text
    assert "**" not in text


def test_the_robots_errors_are_drawn_beside_the_tables(tmp_path: Path):
    write_robot(tmp_path, "smvae", 5.0, SUBSETS)
    write_robot(tmp_path, "jmvae", 99.0, ["rgb", SUBSETS[-1]])
    draw(tmp_path, tmp_path)
    picture = cv2.imread(str(tmp_path / "simulated-robot.png"))
    assert picture.std() > 10, "nothing is drawn"
    assert "![Those errors, by subset and method](simulated-robot.png)" in render(tmp_path)
