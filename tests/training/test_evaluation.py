"""Evaluation: all 15 subsets x 4 targets, ratios that mean what they say, one HTML file."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smvae_core.kinds.base import field_groups
from smvae_core.modality import all_subsets, subset_name
from smvae_core.model_card import CARD
from smvae_core.presets import vision_touch
from smvae_datasets.dataset import Target
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.evaluate.episodes import Evaluation
from smvae_training.evaluate.measures import errors, squared_error
from smvae_training.evaluate.ratios import checks, paired_ratio
from smvae_training.evaluate.records import EvaluateConfig
from smvae_training.evaluate.report.figures import choose_moments
from smvae_training.evaluate.report.sections import write_report
from smvae_training.evaluate.results import RESULTS, headline, jsonable, write_json
from smvae_training.exporting import export_run
from smvae_training.presets import debug
from smvae_training.run import RunError, RunPaths, load_run
from smvae_training.trainer import train_on

SETTINGS = EvaluateConfig(max_records=40, likelihood_records=6, samples=2)


@pytest.fixture(scope="module")
def evaluation(episodes: PreparedEpisodes, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    config = replace(debug(), data=replace(debug().data, held_out=0.4))
    folder = tmp_path_factory.mktemp("run")
    train_on(config, episodes, RunPaths(folder), None, "memory")
    return Evaluation(load_run(folder), episodes, SETTINGS)


@pytest.fixture(scope="module")
def results(evaluation: Evaluation) -> dict[str, Any]:
    return evaluation.results()


def test_errors_of_likelihoods_are_over_trajectories(
    evaluation: Evaluation, results: dict[str, Any]
) -> None:
    """Steps of one trajectory were taken for independent."""
    few, group = evaluation.predict(evaluation.few), evaluation.few.group
    values = few.log_likelihood(few.posterior(evaluation.names), SETTINGS.samples, SETTINGS.seed)
    each = values["rgb"].numpy() / vision_touch(32)[0].size
    sums = np.array([(each - each.mean())[group == g].sum() for g in np.unique(group)])
    assert 1 < len(sums) < len(each)
    wanted = np.sqrt(np.square(sums).sum() * len(sums) / (len(sums) - 1)) / len(each)
    found = results["subsets"][subset_name(evaluation.names)]["rgb"]
    assert found["log_likelihood_per_dim"] == pytest.approx(each.mean(), rel=1e-4)
    assert found["log_likelihood_per_dim_standard_error"] == pytest.approx(wanted, rel=1e-4)


def test_results_hold_every_number_of_15_subsets_and_4_targets(results: dict[str, Any]) -> None:
    modalities = vision_touch(32)
    names = [subset_name(s) for s in all_subsets(tuple(m.name for m in modalities))]
    keys = {
        "rgb": {"psnr_db", "ssim"},
        "depth": {"mae_m"},
        "force": {"rmse_force_N", "rmse_torque_Nm"},
        "action": {"rmse_linear_m", "rmse_angular_rad"},
    }
    assert list(results["subsets"]) == names
    for scores in results["subsets"].values():
        for target, wanted in keys.items():
            assert wanted | {"log_likelihood_per_dim"} <= set(scores[target])
            assert all(np.isfinite(v) for v in scores[target].values())
    assert set(results["baselines"]["nearest_record"]) == set(names)
    assert set(results["baselines"]["training_mean"]) == set(keys)
    assert len(results["checks"]) == 15 * 2 * 3 * 2
    assert set(results["probe"]) == {n for n in names if n.count("+") in (0, 2, 3)}
    assert set(results["probe"]["rgb"]["offset"]["rmse_mm"]) == {"x", "y", "z"}
    json.dumps(jsonable(results), allow_nan=False)


def test_the_card_of_an_evaluated_run_has_the_errors_that_the_command_prints(
    evaluation: Evaluation, results: dict[str, Any], tmp_path: Path
) -> None:
    run = evaluation.run
    path = RunPaths(run.path).evaluation / RESULTS
    undefined = copy.deepcopy(results)
    undefined["ratios"]["rgb"]["depth"]["all"]["whole"]["standard_error"] = np.nan
    for scored, step in ((undefined, run.record.step), (results, run.record.step + 1)):
        write_json(path, {**scored, "training": {**scored["training"], "step": step}})
        card = (export_run(run.path, tmp_path / str(step)) / CARD).read_text(encoding="utf-8")
        ours = step == run.record.step
        assert ("| rgb+depth+force+action | " in card) == ours
        assert ("Not evaluated" in card) == (not ours), "those of other weights do not count"
        if ours:
            _, rows = headline(scored)
            assert f"| force | {rows['force']['rgb']} | {rows['force']['depth']} |" in card
            assert "nan" not in card, "of a single trajectory no error is known"
    path.unlink()


def test_report_is_one_file_that_fetches_nothing(
    evaluation: Evaluation, results: dict[str, Any], tmp_path: Path
) -> None:
    text = write_report(tmp_path / "report.html", evaluation, results).read_text()
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)
    assert not re.search(r"<(script|link|iframe)", text)
    sources = re.findall(r'src="([^"]{0,22})', text)
    assert sources
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    titles = re.findall("<h2>([^<]*)</h2>", text)
    assert titles[:4] == ["Answers", "Pictures", "What each sensor adds", "When it does not know"]
    for title in ("Pictures", "Requirements", "Subsets", "Baselines", "Linear probes"):
        assert f"<h2>{title}</h2>" in text


def test_other_data_than_the_run_was_trained_on_are_refused(
    evaluation: Evaluation, episodes: PreparedEpisodes
) -> None:
    arrays = episodes.arrays | {"action": np.array(episodes.arrays["action"]) + 1}
    with pytest.raises(RunError, match="was trained on other data"):
        Evaluation(evaluation.run, replace(episodes, arrays=arrays), SETTINGS)


def test_the_mean_image_has_ratio_one_and_a_perfect_one_zero(evaluation: Evaluation) -> None:
    modality = evaluation.modalities[0]
    truth = evaluation.truth["rgb"]
    mean = np.broadcast_to(evaluation.means["rgb"].mean, truth.shape)
    for predicted, expected in ((mean, 1.0), (truth, 0.0)):
        for regions in evaluation._ratios(modality, predicted).values():
            for ratio in regions.values():
                assert ratio.mean == pytest.approx(expected, abs=1e-5)
                assert ratio.pooled == pytest.approx(expected, abs=1e-5)


def test_paired_ratio_by_hand() -> None:
    error = np.array([1.0, 3.0, 1.0, np.nan])
    reference = np.array([4.0, 4.0, 1.0, 1.0])
    trajectory = np.array([0, 0, 1, 1], np.int32)
    ratio = paired_ratio(error, reference, trajectory, np.ones(4, bool))
    assert ratio.mean == pytest.approx(0.75)  # (4/8 + 1/1) / 2
    assert ratio.standard_error == pytest.approx(0.25)
    assert ratio.pooled == pytest.approx(5 / 9)
    assert (ratio.trajectories, ratio.records) == (2, 3)
    assert np.isnan(paired_ratio(error, reference, trajectory, np.zeros(4, bool)).mean)


@pytest.mark.parametrize(
    ("subset", "mean", "error", "passed"),
    [
        ("rgb+force", 0.5, 0.1, True),
        ("rgb+force", 0.51, 0.1, False),
        ("depth+force", 0.6, 0.1, True),
        ("force", 0.79, 0.1, True),
        ("force", 0.81, 0.1, False),
        ("force", 0.5, float("nan"), False),
    ],
)
def test_requirements_follow_what_the_subset_holds(
    subset: str, mean: float, error: float, passed: bool
) -> None:
    one = paired_ratio(np.ones(2), np.ones(2), np.arange(2, dtype=np.int32), np.ones(2, bool))
    ratio = replace(one, mean=mean, standard_error=error)
    (check,) = checks(vision_touch(32), {subset: {"rgb": {"all": {"whole": ratio}}}})
    assert check["passed"] is passed


def test_depth_errors_leave_out_pixels_without_return() -> None:
    depth = vision_touch(32)[1]
    truth = np.full((1, 1, 32, 32), 0.5, np.float32)
    truth[0, 0, :16] = 0.0
    predicted = np.full_like(truth, 0.6)
    assert errors(depth, truth, predicted)["mae_m"] == pytest.approx(0.1, rel=1e-5)
    assert squared_error(depth, truth, predicted)[0][0] == pytest.approx(0.01, rel=1e-4)


def test_units_of_errors_come_from_the_declaration() -> None:
    force, action = vision_touch(32)[2:]
    assert field_groups(force) == {"force_N": [0, 1, 2], "torque_Nm": [3, 4, 5]}
    assert field_groups(action) == {"linear_m": [0, 1, 2], "angular_rad": [3]}


def test_moments_of_the_picture_are_even_and_include_contact(episodes: PreparedEpisodes) -> None:
    held_out = np.arange(12, 36)
    step = episodes.stamp_ns // 50_000_000
    assert list(step[choose_moments(episodes, held_out, 4)]) == [0, 4, 7, 11]
    late = np.float32(step == 9)[:, None]
    contact = Target(values=late, binary=True, states=("free", "contact"))
    rare = replace(episodes, targets={**episodes.targets, "contact": contact})
    assert list(step[choose_moments(rare, held_out, 4)]) == [0, 4, 9, 11]
