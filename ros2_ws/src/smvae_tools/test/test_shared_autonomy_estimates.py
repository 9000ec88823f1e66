"""The worked consumer of a bundle with targets, over real DDS: what it knows is the node's word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from autonomy_harness import OPERATOR, TIP, Stage
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from robot_harness import Program

from smvae_core.assistance.belief import Fusion, HoleBelief
from smvae_core.assistance.blending import Blending, blend, weights
from smvae_core.assistance.sighting import Sighting
from smvae_core.bundle import Bundle
from smvae_core.estimate_calibration import EstimateCalibration
from smvae_core.modality import all_subsets, subset_name
from smvae_core.model.config import ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import measure_statistics, prepare
from smvae_core.presets import vision_touch
from smvae_core.target import DecodedTarget
from smvae_datasets.simulation.ros_domain import free_domain

pytestmark = pytest.mark.dds

OFFSET = DecodedTarget(name="offset", mean=(0.0,) * 3, deviation=(0.1,) * 3, unit="m")
#: Where the hole is told to be, and how surely [m].
TOLD = np.array([0.01, -0.004, 0.04])
STD = 0.004


def exported(out: Path, target: DecodedTarget) -> Bundle:
    """Export a small untrained model that decodes a target."""
    torch.manual_seed(0)
    modalities = vision_touch(32)
    config = ModelConfig(
        modalities=modalities,
        latent_dim=8,
        embedding_dim=32,
        base_channels=4,
        targets=(target,),
    )
    statistics = {
        m.name: measure_statistics(m, np.stack([prepare(m, m.example_sample(s)) for s in range(4)]))
        for m in modalities
    }
    names = tuple(m.name for m in modalities)
    factors = {subset_name(s): {target.name: np.ones(target.size)} for s in all_subsets(names)}
    calibration = EstimateCalibration(subsets=factors, names=names)
    return Bundle.load(export_bundle(SMVAE(config), statistics, out, estimates=calibration))


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(tmp_path_factory.mktemp("telling") / "bundle", OFFSET)


def started(bundle: Bundle, domain: int, log: Path) -> Program:
    given = {"bundle": bundle.path, "weight_rise_per_s": 5.0, "max_age_s": 5.0}
    parameters = (part for k, v in given.items() for part in ("-p", f"{k}:={v}"))
    return Program(
        "smvae_tools.operators.shared_autonomy_demo", domain, log, "--ros-args", *parameters
    )


@pytest.fixture(scope="module")
def stage(telling: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    domain = free_domain()
    program = started(telling, domain, tmp_path_factory.mktemp("demo") / "log")
    stage = Stage(domain, telling)
    yield stage
    stage.close()
    program.end()


def expected(offset: np.ndarray, std: float) -> np.ndarray:
    """Return the command after many of such estimates, by the formula."""
    tip = np.append(TIP, 0.0)
    pose, unsure = np.append(TIP - offset, 0.0), np.array([std, std, std, np.inf])
    belief = HoleBelief(Fusion())
    for _ in range(10):
        belief.add_independent(Sighting(pose=pose, std=unsure))
    shares = weights(belief, tip, Blending())
    motion = blend(OPERATOR[[0, 1, 2, 5]], belief, tip, shares, Blending())
    return np.insert(motion, 3, [0.0, 0.0])


def test_the_nodes_estimates_give_the_stated_command(stage: Stage) -> None:
    wanted = expected(TOLD, STD)
    stage.play(lambda: stage.says("assisting") and stage.near(wanted), tells=(TOLD, STD))
    assert not np.allclose(wanted, OPERATOR)


def test_estimates_that_know_nothing_leave_the_operators_own_command(stage: Stage) -> None:
    stage.epoch += 1
    unknown = np.full(3, np.nan)
    stage.play(
        lambda: stage.says("assisting") and stage.near(OPERATOR), tells=(unknown, float("nan"))
    )


def test_latents_without_estimates_are_not_acted_on_and_that_is_said(stage: Stage) -> None:
    stage.epoch += 1
    said = "no estimates of a latent yet"
    stage.play(lambda: stage.says(said) and stage.near(OPERATOR))
    wanted = expected(TOLD, STD)
    stage.play(lambda: stage.near(wanted), tells=(TOLD, STD))


def test_the_perception_node_tells_and_is_heard(
    start_node: Callable[..., Any],
    client: Any,
    domain: int,
    telling: Bundle,
    strict: dict[str, Any],
    tmp_path: Path,
) -> None:
    start_node(bundle=telling.path, parameters=strict)
    client.activate()
    program = started(telling, domain, tmp_path / "log")
    states: list[Any] = client.listen(DiagnosticStatus, "/shared_autonomy_demo/assistance", 10)
    operator = client.node.create_publisher(TwistStamped, "/operator/command", 1)
    arm = [client.node.create_publisher(PoseStamped, f"/tip_{h}", 5) for h in ("pose", "setpoint")]

    def believing() -> bool:
        command, pose = TwistStamped(), PoseStamped()
        command.header.stamp = pose.header.stamp = client.node.get_clock().now().to_msg()
        operator.publish(command)
        for publisher in arm:
            publisher.publish(pose)
        known = {v.key for s in states[-1:] for v in s.values}
        return any(s.message == "assisting" for s in states) and "hole.x [m]" in known

    try:
        client.play_until(tuple(telling.manifest.names), believing)
    finally:
        program.end()


def test_targets_that_do_not_tell_the_hole_are_named(tmp_path: Path, domain: int) -> None:
    other = DecodedTarget(name="contact", mean=(0.0,), deviation=(1.0,), binary=True)
    program = started(exported(tmp_path / "other", other), domain, tmp_path / "log")
    program.gives_up(
        "tells contact, and not where the hole is: a target 'offset' or 'hole' is needed"
    )
