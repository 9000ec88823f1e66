"""Targets that are computed from the sensors of the next record, and sensors of two records."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError
from smvae_core.kinds.joint_state import JointOptions
from smvae_core.modality import Modality
from smvae_core.model import elbo
from smvae_core.presets import vision_touch
from smvae_datasets.dataset import ArrayDataset, DataSetError, Target
from smvae_datasets.vision_touch.prepared import PreparedEpisodes, prepare_episodes
from smvae_training.cli import main
from smvae_training.config import AugmentConfig, DataConfig, SelfSupervised, TrainConfig
from smvae_training.exporting import export_run
from smvae_training.run import load_run, split_episodes
from smvae_training.steps.callbacks import read_metrics
from smvae_training.steps.data import StepStream, batch_order
from smvae_training.steps.pairing import Pairing, add_pairing, draw_mixed, pairing_decoder
from smvae_training.steps.self_supervised import next_records, two_levels, with_self_supervised
from smvae_training.trainer import build_smvae
from tests.training.short_runs import run
from tests.training.told_runs import folder  # noqa: F401 (a fixture)

FORCE = vision_touch(32)[2]
ACTION = vision_touch(32)[3]
JOINTS = Modality(
    name="joints",
    kind="joint_state",
    shape=(4,),
    unit="rad, rad/s",
    fields=("position.a", "position.b", "velocity.a", "velocity.b"),
    options=JointOptions(joints=("a", "b"), select=("position", "velocity")),
)
STEP_NS = 50_000_000
WEIGHT = np.float32([0.0, 0.0, -9.0])
#: Two trajectories of four records; the second has a gap before its last one.
GROUP = np.repeat(np.arange(2, dtype=np.int32), 4)
STAMPS = STEP_NS * np.int64([0, 1, 2, 3, 0, 1, 2, 6])


def asking(config: TrainConfig, *names: SelfSupervised) -> TrainConfig:
    return replace(config, data=replace(config.data, self_supervised=names))


def records(sensor: Modality, values: np.ndarray, **changes) -> ArrayDataset:
    """Return eight records of a sensor, and of a command that all of them hold."""
    command = np.arange(32, dtype=np.float32).reshape(8, 4)
    arrays = {sensor.name: values.astype(np.float32), "action": command}
    return ArrayDataset(
        sensors=(sensor, ACTION),
        arrays=arrays,
        group_names=("a", "b"),
        **{"group": GROUP, "stamp_ns": STAMPS, **changes},
    )


def forces(sizes: list[float]) -> np.ndarray:
    """Return windows (N, 6, 32) of a tool's weight, each with one reading that far from it."""
    values = np.zeros((len(sizes), 6, 32), np.float32)
    values[:, :3] = WEIGHT[:, None]
    values[:, 0, 20] += sizes
    values[:, 3:] = 500.0  # torques say nothing
    return values


def made(data: ArrayDataset, *names: SelfSupervised) -> dict[str, Target]:
    half = TrainConfig(data=DataConfig(self_supervised=names, held_out=0.5))
    return dict(with_self_supervised(half, data).targets)


def test_a_record_follows_of_the_same_trajectory_and_soon() -> None:
    data = records(FORCE, forces([0.0] * 8))
    assert next_records(data).tolist() == [1, 2, 3, -1, 5, 6, -1, -1]
    backwards = np.arange(8)[::-1]
    turned = records(FORCE, forces([0.0] * 8), group=GROUP[backwards], stamp_ns=STAMPS[backwards])
    assert next_records(turned).tolist() == [-1, -1, 1, 2, -1, 4, 5, 6]
    with pytest.raises(DataSetError, match="records have no times"):
        next_records(records(FORCE, forces([0.0] * 8), stamp_ns=np.zeros(8, np.int64)))


def test_next_contact_is_a_force_far_from_the_usual_one_in_the_next_record() -> None:
    sizes = [0.1, 0.2, 5.0, 7.0, 0.1, 6.0, 0.2, 0.1]
    recorded = np.ones((8, 2), bool)
    recorded[2, 0] = False
    values = forces(sizes)
    values[2] = np.nan  # of what was not recorded nothing is read
    found = made(records(FORCE, values, recorded=recorded), "contact")["next_contact"]
    assert found.binary
    np.testing.assert_array_equal(
        found.values[:, 0], [0, math.nan, 1, math.nan, 1, 0, math.nan, math.nan]
    )
    assert "next record's force is more than" in found.rule
    assert "(0, 0, -9) N" in found.rule


def test_the_threshold_is_of_training_records_alone() -> None:
    config = TrainConfig(data=DataConfig(self_supervised=("contact",), held_out=0.5))
    data = records(FORCE, forces([0.1, 0.2, 5.0, 7.0] * 2))
    first = with_self_supervised(config, data).targets["next_contact"].rule
    for part, same in (("held_out", True), ("train", False)):
        other = data.arrays["force"].copy()
        other[getattr(split_episodes(config, data), part)] *= np.float32(3.0)
        arrays = {**data.arrays, "force": other}
        changed = with_self_supervised(config, replace(data, arrays=arrays))
        assert (changed.targets["next_contact"].rule == first) is same


def test_two_levels_are_parted_where_their_logarithms_are_furthest_apart() -> None:
    rng = np.random.default_rng(0)
    free, touching = rng.lognormal(0.0, 0.3, 900), rng.lognormal(4.0, 0.8, 100)
    threshold = two_levels(np.concatenate([free, touching, [np.nan, 0.0]]))
    assert free.max() < threshold < np.quantile(touching, 0.05)
    with pytest.raises(ConfigError, match="forces are equal"):
        two_levels(np.ones(4))


def test_next_motion_is_of_joints_else_of_the_end_effector_else_a_command() -> None:
    place = np.float32([[0, 1], [0.5, 1], [0.5, 3], [1, 3], [3.1, 0], [-3.1, 0], [-3, 0], [0, 0]])
    values = np.concatenate([place, np.full((8, 2), 9.0)], axis=1)
    moved = np.float32([[0.5, 0], [0, 2], [0.5, 0], [np.nan] * 2])
    joints = made(records(JOINTS, values), "motion")["next_motion"]
    np.testing.assert_allclose(joints.values[:4], moved, rtol=1e-6)
    np.testing.assert_allclose(joints.values[4], [2 * np.pi - 6.2, 0], rtol=1e-4)  # over pi
    assert (joints.unit, joints.fields) == ("rad", ("position.a", "position.b"))
    told = Target(values=place, unit="m", fields=("x", "y"), frame_id="base")
    of_arm = records(FORCE, forces([0.0] * 8), end_effector=told)
    arm = made(of_arm, "motion")["next_motion"]
    np.testing.assert_allclose(arm.values[:4], moved, rtol=1e-6)
    assert (arm.unit, arm.fields, arm.frame_id) == ("m", ("x", "y"), "base")
    command = made(records(FORCE, forces([0.0] * 8)), "motion")["next_motion"]
    np.testing.assert_array_equal(command.values[0], [4, 5, 6, 7])
    assert np.isnan(command.values[[3, 6, 7]]).all()
    assert (command.unit, command.rule) == ("m, rad", "the next record's action")


def test_what_no_sensor_tells_and_names_that_are_taken_are_refused() -> None:
    data = records(JOINTS, np.zeros((8, 4)))
    with pytest.raises(ConfigError, match=r"contact needs a sensor with a force.*'joints'"):
        made(data, "contact")
    blind = ArrayDataset(
        sensors=vision_touch(32)[:1],
        arrays={"rgb": np.zeros((8, 3, 32, 32), np.uint8)},
        group=GROUP,
        group_names=("a", "b"),
        stamp_ns=STAMPS,
    )
    with pytest.raises(ConfigError, match="motion needs a sensor with a position"):
        made(blind, "motion")
    with pytest.raises(ConfigError, match="pairing needs two sensors, have rgb"):
        made(blind, "pairing")
    own = Target(values=np.zeros((8, 1), np.float32))
    for name, option in (("next_motion", "motion"), ("pairing", "pairing")):
        with pytest.raises(ConfigError, match=f"the data have a '{name}' of their own"):
            made(replace(data, targets={name: own}), option)
    with pytest.raises(ConfigError, match=r"expected some of contact, motion, pairing, got 'mot'"):
        DataConfig(self_supervised=("mot",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"pairing is not for --data\.binarised"):
        DataConfig(source="mnist", binarised=True, self_supervised=("pairing",))


def test_half_of_the_rows_have_one_observed_sensor_of_another_row() -> None:
    rng = np.random.default_rng(0)
    recorded = rng.random((400, 4)) < 0.8
    recorded[:, 0] = True
    present = recorded & (rng.random((400, 4)) < 0.7)
    drawn = draw_mixed(recorded, present, rng)
    asked, mixed = present.sum(axis=1) > 1, drawn.sensor >= 0
    np.testing.assert_array_equal(np.isnan(drawn.together[:, 0]), ~asked)
    np.testing.assert_array_equal(drawn.together[asked, 0], ~mixed[asked])
    assert mixed[asked].mean() == pytest.approx(0.5, abs=0.08)
    rows = np.flatnonzero(mixed)
    assert present[rows, drawn.sensor[rows]].all()
    assert recorded[drawn.partner[rows], drawn.sensor[rows]].all()
    assert (drawn.partner[rows] != rows).all()
    assert len(set(drawn.sensor[rows])) == 4


def test_a_sensor_that_no_other_row_holds_is_not_asked_for() -> None:
    recorded = np.array([[True, True], [True, False], [True, False]])
    for seed in range(20):
        drawn = draw_mixed(recorded, recorded, np.random.default_rng(seed))
        assert drawn.sensor[0] in (-1, 0)
        assert np.isnan(drawn.together[1:]).all()


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_devices_together_mix_what_one_would(episodes: PreparedEpisodes, noise: float) -> None:
    from smvae_core.preprocessing import measure_statistics
    from smvae_training.augmenter import Augmenter

    statistics = {m.name: measure_statistics(m, episodes.arrays[m.name]) for m in episodes.sensors}
    changes = Augmenter(episodes, statistics, AugmentConfig(noise=noise), 0) if noise else None
    pairing = Pairing(episodes, 0, changes)
    order = batch_order(np.arange(len(episodes)), 16, 0)

    def batches(devices: int):
        settings = {"augmenter": changes, "pairing": pairing}
        streams = [
            StepStream(episodes, order, lambda: 0, (rank, devices), **settings)
            for rank in range(devices)
        ]
        return [stream.batch(3) for stream in streams]

    (alone,), shared = batches(1), batches(3)
    for name, samples in alone.mixed.samples.items():
        rows = alone.mixed.rows[name]
        for sample, row in zip(samples, rows, strict=True):
            rank, at = int(row) % 3, int(row) // 3
            theirs = shared[rank].mixed
            place = theirs.rows[name].tolist().index(at)
            assert torch.equal(theirs.samples[name][place], sample)
            own = alone.observed.get(name, alone.arrays[name])[row]
            assert not torch.equal(own, sample)
    for rank in range(3):
        torch.testing.assert_close(
            shared[rank].mixed.together, alone.mixed.together[rank::3], equal_nan=True
        )


def test_a_row_that_is_not_asked_has_no_gradient_and_the_elbo_stays(config: TrainConfig) -> None:
    torch.manual_seed(0)
    model, _ = build_smvae(config)
    decoder = pairing_decoder(config.model.latent_dim)
    batch = {m.name: torch.from_numpy(m.example(4)) for m in model.config.modalities}
    present = torch.ones(4, 4, dtype=torch.bool)
    terms = elbo(model.eval(), batch, present, present, 1.0, config.objective)
    together = torch.tensor([[1.0], [0.0], [math.nan], [1.0]])

    def gradients(answers: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        leaves = {name: x.clone().requires_grad_() for name, x in batch.items()}
        noise = torch.Generator().manual_seed(0)
        found = add_pairing(terms, model, decoder, leaves, present, answers, 2.0, noise)
        grads = torch.autograd.grad(found.loss - terms.loss, list(leaves.values()))
        assert (found.elbo, found.kl) == (terms.elbo, terms.kl)
        assert found.rows["pairing"] == 3
        expected = terms.loss - 2.0 * 0.75 * found.log_likelihood["pairing"]
        torch.testing.assert_close(found.loss, expected)
        return list(grads), found.loss

    grads, _ = gradients(together)
    for grad in grads:
        assert not grad[2].any()
        assert grad[[0, 1, 3]].any()
    nothing = torch.full((4, 1), math.nan)
    assert add_pairing(terms, model, decoder, batch, present, nothing, 2.0) is terms


@pytest.mark.parametrize("names", [("contact", "motion"), ("pairing",), ("motion", "pairing")])
def test_stopping_and_resuming_equals_going_straight(
    config: TrainConfig,
    episodes: PreparedEpisodes,
    tmp_path: Path,
    names: tuple[SelfSupervised, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    config = asking(config, *names)
    straight = run(config, episodes, tmp_path / "straight")
    run(config, episodes, tmp_path / "stopped", stop_after=2)
    stopped = run(config, episodes, tmp_path / "stopped", resume=True)
    ours, theirs = load_file(stopped.weights), load_file(straight.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    rows = [read_metrics(paths.metrics) for paths in (straight, stopped)]
    told = [name for name in rows[0][-1] if name.endswith(("pairing", "motion", "contact"))]
    assert len(told) == len(names)
    assert [[r[k] for k in told] for r in rows[0]] == [[r[k] for k in told] for r in rows[1]]
    assert not any("pairing" in name for name in theirs)
    decoded = [t.name for t in load_run(tmp_path / "straight").model_config.targets]
    assert decoded == [f"next_{name}" for name in names if name != "pairing"]
    assert ("next_motion: the next record's action" in caplog.text) is ("motion" in names)


def test_the_weight_of_pairing_is_asked_for_by_its_name(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    """At weight 0 the model is that of a run without, and only the likelihood is told beside."""
    objective = replace(config.objective, weights={"pairing": 0.0})
    plain = run(config, episodes, tmp_path / "plain")
    without = run(
        replace(asking(config, "pairing"), objective=objective), episodes, tmp_path / "without"
    )
    losses = [[row["loss"] for row in read_metrics(paths.metrics)] for paths in (plain, without)]
    assert losses[0][0] == losses[1][0]
    weights = [load_file(paths.weights) for paths in (plain, without)]
    statistics = ("running_mean", "running_var", "num_batches_tracked")  # of mixed rows as well
    assert all(
        torch.equal(weights[1][name], value)
        for name, value in weights[0].items()
        if not name.endswith(statistics)
    )


def test_that_sensors_belong_together_is_learned(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    optimizer = replace(config.optimizer, lr=3e-3, schedule="constant")
    log = replace(config.log, every=1, checkpoint_every=0)
    settings = {"batch_size": 32, "max_steps": 120, "annealing": 1.0}
    config = replace(asking(config, "pairing"), optimizer=optimizer, log=log, **settings)
    rows = read_metrics(run(config, episodes, tmp_path / "run").metrics)
    told = [row["log_likelihood/pairing"] for row in rows]
    assert np.mean(told[-20:]) > -0.6 > -math.log(2.0) - 0.1 < np.mean(told[:5])


def test_end_effectors_are_read_from_files_and_told_by_export(
    folder: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ["--preset", "debug", "--data", str(folder), "--out", str(tmp_path / "run")]
    words += ["--data.held-out", "0.5", "--max-steps", "6"]
    assert main(["train", *words, "--data.self-supervised", "contact", "motion", "pairing"]) == 0
    loaded = load_run(tmp_path / "run")
    data = prepare_episodes(folder, loaded.model_config.modalities, progress=False)
    place = data.end_effector.values
    found = with_self_supervised(loaded.config, data).targets["next_motion"]
    np.testing.assert_array_equal(found.values[:49], place[1:50] - place[:49])
    assert np.isnan(found.values[49]).all()
    manifest = Bundle.load(export_run(tmp_path / "run", tmp_path / "bundle")).manifest
    assert [t.name for t in manifest.targets] == ["next_contact", "next_motion"]
    assert manifest.targets[1].rule == "how far the end effector moves until the next record"
    assert " N from (" in manifest.targets[0].rule
    assert manifest.training["self_supervised"] == ["contact", "motion", "pairing"]
    assert manifest.estimates is not None
    results = json.loads((tmp_path / "run" / "evaluation" / "results.json").read_text())
    assert results["estimates"]["rgb"]["next_motion"]["records"] == 3 * 49
    assert "f1" in results["probe"]["rgb"]["next_contact"]
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "`next_motion` was not recorded: how far the end effector moves" in card
