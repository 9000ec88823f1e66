"""Records that lack sensors: trained on, measured and scored without a trace of what is absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smvae_core.errors import ConfigError
from smvae_core.model.objective import elbo
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.presets import vision_touch
from smvae_datasets.dataset import ArrayDataset, DataSetError, Target, conditions, holding
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import TrainConfig
from smvae_training.evaluate.episodes import Evaluation
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.probe import probe
from smvae_training.evaluate.records import EvaluateConfig, Records
from smvae_training.evaluate.results import jsonable
from smvae_training.run import RunPaths, load_run, training_statistics
from smvae_training.steps.data import StepStream, batch_order, fingerprint
from smvae_training.steps.normalise import BatchNormaliser
from smvae_training.steps.stages import Stages
from smvae_training.steps.validation import QuickElbo
from smvae_training.trainer import train_on
from tests.training.conftest import make_episodes

NAMES = ("rgb", "depth", "force", "action")
OBJECTIVES = [
    ObjectiveConfig(),
    ObjectiveConfig(complement=True),
    ObjectiveConfig(target="subset"),
    ObjectiveConfig(target="remaining"),
    ObjectiveConfig(target="joint", samples=2, second_bound="observed"),
]


def lacking(data: PreparedEpisodes, junk: float, **absent: Any) -> PreparedEpisodes:
    """Return the records without some sensors; in their place stands what must not be read."""
    recorded = np.array(data.recorded)
    arrays = {name: np.array(a) for name, a in data.arrays.items()}
    for name, rows in absent.items():
        recorded[rows, NAMES.index(name)] = False
        fill = junk if arrays[name].dtype.kind == "f" else int(np.nan_to_num(junk, nan=255.0))
        arrays[name][rows] = fill
    return replace(data, recorded=recorded, arrays=arrays)


def at_random(data: PreparedEpisodes, junk: float = np.nan) -> PreparedEpisodes:
    """Return the records with about 30 % of their sensors missing, none without any."""
    rng = np.random.default_rng(3)
    gone = rng.random((len(data), 4)) < 0.3
    gone[gone.all(axis=1), 2] = False
    return lacking(data, junk, **{name: gone[:, i] for i, name in enumerate(NAMES)})


def step(data: PreparedEpisodes, config: TrainConfig, objective: ObjectiveConfig) -> Any:
    """Return model and loss after the backward pass of one training step."""
    torch.manual_seed(0)
    model = SMVAE(config.model)
    order = batch_order(np.arange(len(data)), 16, seed=0)
    batch = StepStream(data, order, lambda: 0, proper=objective.target == "joint").batch(0)
    statistics = training_statistics(config, data, np.arange(len(data)))
    inputs = BatchNormaliser(config.model.modalities, statistics)(batch.arrays)
    terms = elbo(model, inputs, batch.recorded, batch.present, 1.0, objective)
    terms.loss.backward()
    return model, terms


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: f"{o.target}{o.complement}")
def test_a_sensor_that_no_record_of_a_batch_holds_gets_a_gradient_of_exactly_zero(
    episodes: PreparedEpisodes, config: TrainConfig, objective: ObjectiveConfig
) -> None:
    order = batch_order(np.arange(len(episodes)), 16, seed=0)
    data = lacking(episodes, np.nan, force=order.records(0))
    model, terms = step(data, config, objective)
    assert torch.isfinite(terms.loss)
    assert "force" not in terms.log_likelihood
    for networks in (model.embeddings, model.decoders):
        for parameter in networks["force"].parameters():
            assert parameter.grad is None or not parameter.grad.any()
    assert model.log_scale["force"].grad is None or not model.log_scale["force"].grad.any()
    for name in ("rgb", "depth", "action"):
        assert any(p.grad.abs().sum() > 0 for p in model.decoders[name].parameters())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: f"{o.target}{o.complement}")
def test_what_stands_in_an_absent_slot_changes_no_loss_and_no_gradient(
    episodes: PreparedEpisodes, config: TrainConfig, objective: ObjectiveConfig
) -> None:
    one, other = (step(at_random(episodes, junk), config, objective) for junk in (np.nan, 7.0))
    assert torch.equal(one[1].loss, other[1].loss)
    theirs = dict(other[0].named_parameters())
    for name, parameter in one[0].named_parameters():
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all()
            assert torch.equal(parameter.grad, theirs[name].grad), name


def test_what_ruins_training_is_said_before_it_begins(
    episodes: PreparedEpisodes, config: TrainConfig, tmp_path: Path, caplog: Any
) -> None:
    data = lacking(episodes, np.nan, force=np.arange(len(episodes)))
    paths = RunPaths(tmp_path / "run")
    with pytest.raises(
        DataSetError, match=r"memory: force: in none of 48 records; check its topic"
    ):
        train_on(config, data, paths, None)
    assert not paths.root.exists()
    still = {**episodes.arrays, "action": np.zeros((len(episodes), 4), np.float32)}
    train_on(
        replace(config, max_steps=1, batch_size=64), replace(episodes, arrays=still), paths, None
    )
    told = [r.message for r in caplog.records if r.name == "smvae_training.run"]
    assert told[0].startswith("data: 48 records to train on, fewer than a batch of 64; ")
    assert told[1].startswith("action: never changes in 48 records looked at; ")


def test_batches_observe_only_what_was_recorded(episodes: PreparedEpisodes) -> None:
    data = at_random(episodes)
    order = batch_order(np.arange(len(data)), 20, seed=0)
    for number in range(6):
        batch = StepStream(data, order, lambda: 0).batch(number)
        assert np.array_equal(batch.recorded.numpy(), data.recorded[order.records(number)])
        assert not (batch.present & ~batch.recorded).any()
        assert batch.present.any(dim=1).all()


def test_statistics_are_those_of_the_records_that_hold_a_sensor(
    episodes: PreparedEpisodes, config: TrainConfig
) -> None:
    rows = np.arange(0, len(episodes), 3)
    train = np.arange(len(episodes))
    found = training_statistics(config, lacking(episodes, 1e6, force=rows), train)
    kept = training_statistics(config, episodes, np.delete(train, rows))
    assert found["force"] == kept["force"]
    with pytest.raises(ConfigError, match="no training record holds 'force': leave it out of"):
        training_statistics(config, lacking(episodes, 0.0, force=train), train)


def test_the_quick_elbo_of_absent_sensors_is_finite(
    episodes: PreparedEpisodes, config: TrainConfig
) -> None:
    from smvae_training.steps.module import SMVAETraining

    settings = replace(config, log=replace(config.log, validate_records=20))
    train = np.arange(len(episodes))
    found = []
    for junk in (np.nan, 3.0):
        data = at_random(episodes, junk)
        torch.manual_seed(0)
        model = SMVAE(config.model)
        module = SMVAETraining(
            model, training_statistics(config, data, train), config, Stages(10), 8
        )
        found.append(QuickElbo(data, train, settings, None).measure(model, module))  # type: ignore[arg-type]
    assert np.isfinite(list(found[0].values())).all()
    assert found[0] == found[1]


def test_the_fingerprint_tells_what_is_missing(episodes: PreparedEpisodes) -> None:
    assert fingerprint(at_random(episodes, 0.0)) != fingerprint(
        replace(at_random(episodes, 0.0), recorded=episodes.recorded)
    )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Any]:
    """Return a function that scores one run on records with holes filled with some junk."""
    from smvae_training.presets import debug

    episodes = make_episodes(trajectories=6, steps=20)
    config = replace(debug(), data=replace(debug().data, held_out=0.4), max_steps=2)
    folder = tmp_path_factory.mktemp("run")
    train_on(config, at_random(episodes), RunPaths(folder), None, "memory")
    run = load_run(folder)

    def score(junk: float) -> Any:
        data = at_random(episodes, junk)
        record = replace(run.record, data_fingerprint=fingerprint(data))
        settings = EvaluateConfig(max_records=60, likelihood_records=30, samples=2)
        evaluation = Evaluation(replace(run, record=record), data, settings)
        return evaluation, evaluation.results()

    return score


def test_scores_count_only_what_was_recorded(evaluated: Callable[[float], Any]) -> None:
    (one, results), (_, other) = evaluated(np.nan), evaluated(7.0)
    timed = ("seconds", "data")
    assert repr({k: v for k, v in results.items() if k not in timed}) == repr(
        {k: v for k, v in other.items() if k not in timed}
    )
    scores = results["subsets"]["rgb+force"]
    assert all(np.isfinite(list(found.values())).all() for found in scores.values())
    held = one.records.holding(["rgb", "force", "depth"])
    assert 0 < held.sum() < len(one.records)
    predictor = one.predictor
    drawn = predictor.reconstruct("depth", predictor.posterior(("rgb", "force")).mean)
    truth = one.truth["depth"]
    error = np.abs(drawn - truth)[held]
    assert scores["depth"]["mae_m"] == pytest.approx(error[truth[held] > 0].mean(), rel=1e-5)
    assert results["ratios"]["rgb"]["depth"]["all"]["whole"]["records"] == int(
        one.records.holding(["rgb", "depth"]).sum()
    )


def test_a_report_of_records_with_holes_is_written(
    evaluated: Callable[[float], Any], tmp_path: Any
) -> None:
    import json

    from smvae_training.evaluate.report.sections import write_report

    evaluation, results = evaluated(np.nan)
    json.dumps(jsonable(results), allow_nan=False)
    text = write_report(tmp_path / "report.html", evaluation, results).read_text()
    assert "Linear probes" in text


def test_a_posterior_is_given_where_the_whole_subset_was_recorded(
    episodes: PreparedEpisodes, config: TrainConfig
) -> None:
    data = at_random(episodes)
    torch.manual_seed(0)
    model = SMVAE(config.model)
    statistics = training_statistics(config, data, np.arange(len(data)))
    train = np.arange(len(data))
    complete = Records.of(episodes, train, 100)
    whole = Predictor(model, statistics, complete).posterior(("rgb", "action"))
    records = Records.of(data, train, 100)
    found = Predictor(model, statistics, records).posterior(("rgb", "action"))
    held = records.holding(["rgb", "action"])
    assert torch.isnan(found.mean[~held]).all()
    torch.testing.assert_close(found.mean[held], whole.mean[held])
    assert list(holding(data, train, ["rgb", "action"])) == list(train[held])


def test_probes_of_any_targets_leave_out_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 5)).astype(np.float32)
    pose = z @ rng.normal(size=(5, 2)) + 1.0
    pose[::7, 1] = np.nan
    z[::5] = np.nan
    targets = {
        "pose": Target(values=np.float32(pose), unit="rad", fields=("roll", "pitch")),
        "touching": Target(values=np.float32(z[:, :2] > 0), binary=True),
        "never": Target(values=np.full((400, 1), np.nan, np.float32)),
        "always": Target(values=np.ones((400, 1), np.float32), binary=True),
    }
    half = np.arange(200), np.arange(200, 400)
    train, test = ({k: t.take(rows) for k, t in targets.items()} for rows in half)
    found, _ = probe(z[:200], train, z[200:], test)
    known = np.isfinite(z).all(axis=1) & np.isfinite(pose).all(axis=1)
    assert found["pose"]["train_records"] == known[:200].sum()
    assert found["pose"]["records"] == known[200:].sum()
    assert set(found["pose"]["rmse_rad"]) == {"roll", "pitch"}
    assert max(found["pose"]["rmse_rad"].values()) < 0.05
    assert found["touching"]["accuracy"] > 0.95
    assert 0.4 < found["touching"]["touching_share"] < 0.6
    assert found["never"] == {"missing": "fewer than two training records tell 'never'"}
    assert found["always"] == {"missing": "'always' is the same in all training records"}


def test_conditions_are_the_states_of_the_first_target_that_names_them() -> None:
    values = np.array([[0.0], [1.0], [np.nan]], np.float32)
    door = Target(values=values, binary=True, states=("shut", "open"))
    found = conditions({"x": Target(values=values), "door": door}, 3)
    assert {k: v.tolist() for k, v in found.items()} == {
        "open": [False, True, False],
        "shut": [True, False, False],
        "all": [True, True, True],
    }
    assert list(conditions({}, 3)) == ["all"]


def test_records_that_contradict_themselves_are_refused(episodes: PreparedEpisodes) -> None:
    few = np.zeros((len(episodes), 4), bool)
    with pytest.raises(DataSetError, match="record 0 holds no sensor; leave such records out"):
        replace(episodes, recorded=few)
    with pytest.raises(DataSetError, match=r"recorded: expected \(60, 4\), got \(3, 4\)"):
        replace(episodes, recorded=few[:3])
    short = {**episodes.targets, "offset": episodes.targets["offset"].take(np.arange(3))}
    with pytest.raises(DataSetError, match="target offset: expected 60 records, got 3"):
        replace(episodes, targets=short)
    with pytest.raises(DataSetError, match=r"arrays: expected \['rgb', 'depth', 'force'"):
        ArrayDataset(
            sensors=vision_touch(32),
            arrays={"rgb": episodes.arrays["rgb"]},
            group=episodes.group,
            group_names=episodes.group_names,
        )
