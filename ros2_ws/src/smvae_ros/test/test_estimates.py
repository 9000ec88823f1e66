"""What the node says of a model's targets, live: the bundle's own estimates of each latent."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process_node import InProcess
from lifecycle_msgs.msg import Transition
from node_harness import LATCHED, Client, ModelInfo, fused
from numpy.typing import NDArray
from smvae_msgs.msg import Estimates, LatentState

from smvae_core import estimates
from smvae_core.bundle import Bundle, write_bundle
from smvae_core.modality import all_subsets, find, subset_name
from smvae_core.model.config import ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.novelty.scale import Novelty, Tail, component
from smvae_core.presets import vision_touch
from smvae_datasets.dataset import ArrayDataset, Target
from smvae_training.calibrate.estimates import calibrate_estimates
from smvae_training.config import (
    DataConfig,
    HardwareConfig,
    LogConfig,
    OptimizerConfig,
    TrainConfig,
)
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.run import RunPaths, load_run
from smvae_training.trainer import train_on

SENSORS = tuple(find(vision_touch(32), name) for name in ("force", "action"))
FORCE, ACTION = SENSORS
TOPIC = "/smvae/estimates"
PAGE = Path(__file__).parents[4] / "docs/estimates.md"
#: Records, a fifth of them held out.
ALL = 1000


def action_at(place: Any) -> NDArray[np.float32]:
    """Return the displacements (N, 4) [m, rad] that a place (N,) in [-1, 1] is told by."""
    return np.multiply.outer(np.asarray(place), [0.02, -0.01, 0.005, 0.1]).astype(np.float32)


def hole_at(place: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the target `hole` (N, 2) [m]."""
    return np.stack([0.3 + 0.1 * place, 0.2 * place], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a model whose command tells two targets, and whose force tells none."""
    rng = np.random.default_rng(0)
    place = rng.uniform(-1.0, 1.0, ALL)
    noise = rng.normal(0.0, 0.05, (ALL, 1)) * [0.02, 0.02, 0.02, 0.1]
    data = ArrayDataset(
        sensors=SENSORS,
        arrays={
            "force": rng.normal(0.0, 3.0, (ALL, *FORCE.shape)).astype(np.float32),
            "action": action_at(place) + noise.astype(np.float32),
        },
        group=np.repeat(np.arange(10), ALL // 10).astype(np.int32),
        group_names=tuple("abcdefghij"),
        targets={
            "hole": Target(
                values=hole_at(place), unit="m", fields=("x", "y"), frame_id="base_link"
            ),
            "right": Target(values=(place[:, None] > 0).astype(np.float32), binary=True),
        },
    )
    config = TrainConfig(
        model=ModelConfig(modalities=SENSORS, latent_dim=4, embedding_dim=32),
        data=DataConfig(targets=("all",), held_out=0.2),
        batch_size=64,
        max_steps=250,
        annealing=1.0,
        optimizer=OptimizerConfig(lr=5e-3, warmup=10, clip=1.0),
        hardware=HardwareConfig(precision="32", accelerator="cpu"),
        log=LogConfig(tensorboard=False),
    )
    folder = tmp_path_factory.mktemp("told")
    paths = RunPaths(folder / "run")
    train_on(config, data, paths, None)
    run = load_run(paths.root)
    held_out = Records.of(data, run.split(data).held_out, ALL)
    calibration = calibrate_estimates(Predictor(run.model, run.statistics, held_out), held_out)
    return export_bundle(run.model, run.statistics, folder / "bundle", estimates=calibration)


@pytest.fixture
def robot(domain: int) -> Iterator[Client]:
    """The two sensors."""
    client = Client(domain, SENSORS)
    yield client
    client.close()


def strict_of(path: Path, **further: Any) -> dict[str, Any]:
    return {f"modalities.{m.name}.max_skew_s": 0.01 for m in SENSORS} | {
        "bundle": str(path),
        **further,
    }


def pairs(
    client: Client, heard: list[Estimates], subset: tuple[str, ...]
) -> list[tuple[LatentState, Estimates]]:
    """Return latents of a subset with what was said of them, by epoch and sequence."""
    said = {(e.epoch, e.sequence): e for e in heard}
    keys = [(m, (m.epoch, m.sequence)) for m in client.latents if fused(m) == subset]
    return [(m, said[k]) for m, k in keys if k in said]


def play(client: Client, heard: list[Estimates], place: float | None) -> Any:
    """Send a command that tells a place, or a force alone; return a latent and its estimates."""
    name = "force" if place is None else "action"

    def sent() -> list[tuple[LatentState, Estimates]]:
        stamp = client.now_ns()
        told = place is not None and client.message("action", action_at(place), stamp)
        client.publish(name, stamp, told or None)
        client.spin(0.05)
        return pairs(client, heard, (name,))

    client.latents.clear()
    return client.until(sent)[-1]


def test_live_estimates_are_those_of_the_bundle_and_pair_with_their_latent(
    start_node: Any, robot: Client, trained: Path
) -> None:
    start_node(parameters=strict_of(trained))
    heard = robot.listen(Estimates, TOPIC)
    infos = robot.listen(ModelInfo, "/smvae/model_info", LATCHED)
    robot.activate()
    offline = estimates.Estimates.of_bundle(Bundle.load(trained))
    for place in (-0.7, 0.1, 0.8):
        latent, said = play(robot, heard, place)
        assert said.header == latent.header
        assert said.model_generation == latent.model_generation
        expected = offline.apply(("action",), latent.mean, latent.variance)
        hole, right = said.targets
        assert (hole.name, hole.unit, hole.frame_id) == ("hole", "m", "base_link")
        assert (list(hole.fields), hole.binary, hole.known, hole.reason) == (
            ["x", "y"],
            False,
            True,
            "",
        )
        np.testing.assert_allclose(hole.mean, expected["hole"].value, rtol=1e-5)
        covariance = np.reshape(hole.covariance, (2, 2))
        np.testing.assert_allclose(covariance, expected["hole"].covariance, rtol=1e-5)
        error = np.abs(hole.mean - hole_at(np.array([place]))[0])
        assert (error < 4.0 * np.sqrt(np.diagonal(covariance))).all()
        assert (error < [0.02, 0.04]).all(), "a fifth of the interval that places lie in"
        assert (right.name, right.binary, right.known) == ("right", True, True)
        np.testing.assert_allclose(right.mean, expected["right"].value, rtol=1e-5)
        assert np.isnan(right.covariance).all()
        assert abs(place) < 0.5 or (right.mean[0] > 0.5) == (place > 0)
    targets = robot.until(lambda: infos)[0].targets
    assert [(t.name, t.kind, list(t.shape)) for t in targets] == [
        ("hole", "vector", [2]),
        ("right", "binary", [1]),
    ]
    assert (targets[0].unit, list(targets[0].fields), targets[0].notes) == (
        "m",
        ["x", "y"],
        "frame base_link",
    )
    np.testing.assert_allclose(targets[0].scale, Bundle.load(trained).manifest.targets[0].deviation)


def test_what_a_subset_does_not_tell_is_nan_and_says_why(
    start_node: Any, robot: Client, trained: Path
) -> None:
    start_node(parameters=strict_of(trained, heartbeat_rate_hz=50.0))
    heard = robot.listen(Estimates, TOPIC)
    robot.activate()
    _, said = play(robot, heard, None)
    for target in said.targets:
        assert not target.known
        assert np.isnan(target.mean).all()
        assert np.isnan(target.covariance).all()
    assert said.targets[0].reason == "x, y: force tells no more than the training mean"
    _, said = play(robot, heard, 0.5)
    assert said.targets[0].known, "at once again"
    count = len(robot.latents)
    robot.until(lambda: [m for m in robot.latents[count:] if m.status == LatentState.NO_INPUT])
    blind = {(m.epoch, m.sequence) for m in robot.latents if not m.valid}
    assert not blind & {(e.epoch, e.sequence) for e in heard}


def test_the_consumer_of_the_page_keeps_what_is_known(
    start_node: Any, robot: Client, trained: Path
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    written: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), written)
    start_node(parameters=strict_of(trained))
    heard = robot.listen(Estimates, TOPIC)
    consumer = written["Hole"](context=robot.context)
    robot.executor.add_node(consumer)
    try:
        robot.activate()
        _, said = play(robot, heard, 0.5)
        robot.until(lambda: consumer.mean is not None)
        np.testing.assert_allclose(consumer.mean, said.targets[0].mean, atol=0.01)
        assert consumer.covariance.shape == (2, 2)
        assert consumer.frame_id == "base_link"
        play(robot, heard, None)
        robot.until(lambda: consumer.mean is None)
    finally:
        robot.executor.remove_node(consumer)
        consumer.destroy_node()


def unusual(trained: Path, to: Path) -> Path:
    """Return a copy of the bundle to which every sample is out of distribution."""
    tail = Tail(values=(-1e9,), surprises=(1.0,), slope=1e-12)
    subsets = all_subsets(tuple(m.name for m in SENSORS))
    kinds = ("reconstruction", "conflict", "texture", "smooth")
    scale = Tail(values=(0.0, 2.0), surprises=(0.0, 2.0), slope=1.0)
    novelty = Novelty(
        warn=0.1,
        error=0.5,
        components={component(s, k, n): tail for s in subsets for k in kinds for n in s},
        subsets={subset_name(s): scale for s in subsets},
    )
    shutil.copytree(trained, to)
    file = to / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"novelty": novelty.to_json()}))
    return to


def test_out_of_distribution_nothing_is_known(
    start_node: Any, robot: Client, trained: Path, tmp_path: Path
) -> None:
    start_node(parameters=strict_of(unusual(trained, tmp_path / "unusual")))
    heard = robot.listen(Estimates, TOPIC)
    robot.activate()
    latent, said = play(robot, heard, 0.5)
    assert latent.status == LatentState.OUT_OF_DISTRIBUTION
    for target, size in zip(said.targets, (2, 1), strict=True):
        assert (target.known, len(target.mean), len(target.covariance)) == (False, size, size**2)
        assert all(map(math.isnan, [*target.mean, *target.covariance]))
        assert target.reason == "out of distribution: novelty 1 is above 0.5"


def test_nothing_is_decoded_while_nobody_listens(robot: Client, domain: int, trained: Path) -> None:
    with InProcess(domain, **strict_of(trained)) as node:
        robot.activate()
        told, asked = node.session.runtime.estimates, list[tuple[str, ...]]()
        apply = told.apply

        def counted(subset: Any, *latent: Any, **how: Any) -> Any:
            asked.append(subset)
            return apply(subset, *latent, **how)

        told.apply = counted
        robot.latents.clear()
        robot.play_until(("action",), lambda: len([m for m in robot.latents if m.valid]) > 5)
        assert not asked
        heard = robot.listen(Estimates, TOPIC)
        play(robot, heard, 0.5)
        assert asked
        assert robot.change(Transition.TRANSITION_DEACTIVATE)


def test_a_bundle_without_estimates_has_no_topic_and_says_why_if_it_has_targets(
    start_node: Any, robot: Client, trained: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(trained, bare)
    file = bare / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest.pop("estimates")
    file.write_text(json.dumps(manifest))
    process = start_node(parameters=strict_of(bare))
    heard = robot.listen(Estimates, TOPIC)
    robot.activate()
    robot.play_until(("action",), lambda: [m for m in robot.latents if m.valid])
    published = robot.others("publish")
    assert "/smvae/latent" in published
    assert TOPIC not in published
    assert not heard
    said = process.log.read_text()
    assert "~/estimates is not published" in said
    assert "its estimates are not calibrated: `smvae export RUN BUNDLE --data" in said


def test_a_subset_without_calibration_is_found_at_configure(
    start_node: Any, robot: Client, trained: Path, tmp_path: Path
) -> None:
    """Not when the other sensor is lost."""
    bundle = Bundle.load(trained)
    whole = bundle.estimate_calibration()
    few = replace(whole, subsets={k: v for k, v in whole.subsets.items() if k != "force"})
    graphs = {role: bundle.read_graph(role) for role in bundle.manifest.graphs}
    lacking = write_bundle(tmp_path / "lacking", bundle.manifest, graphs, estimates=few)
    process = start_node(parameters=strict_of(lacking.path))
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    assert "no calibration of 'force', have " in process.log.read_text()
