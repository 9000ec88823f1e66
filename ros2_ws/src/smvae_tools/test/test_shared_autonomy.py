"""The worked consumer over real DDS: what makes it help, and what makes it stop."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from autonomy_harness import OPERATOR, TIP, Stage
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from robot_harness import Program
from smvae_msgs.msg import LatentState

from smvae_core.assistance.belief import Fusion, HoleBelief
from smvae_core.assistance.blending import Blending, blend, weights
from smvae_core.assistance.sighting import sighting
from smvae_core.bundle import Bundle, add_readout
from smvae_core.modality import all_subsets, subset_name
from smvae_core.readout import LinearMap, Quantity, Readout
from smvae_datasets.simulation.ros_domain import free_domain

pytestmark = pytest.mark.dds


@pytest.fixture(scope="module")
def assisted(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The untrained bundle with a readout whose numbers are known."""
    copy = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("assisted") / "bundle"))
    loaded = Bundle.load(copy)
    dim = loaded.manifest.latent_dim
    weights = np.zeros((3, dim))
    weights[:, :3] = 0.01 * np.eye(3)  # the first three dimensions are the offset in cm
    contact = np.zeros((1, dim))
    contact[0, 3] = 1.0
    linear = {
        "offset": LinearMap(weights=weights, bias=np.zeros(3), residual=np.full(3, 0.004)),
        "contact": LinearMap(weights=contact, bias=np.zeros(1), residual=np.zeros(1)),
    }
    targets = {"offset": Quantity(unit="m"), "contact": Quantity(binary=True)}
    subsets = {subset_name(s): linear for s in all_subsets(loaded.manifest.names)}
    return add_readout(loaded, Readout(targets=targets, subsets=subsets))


def expected(bundle: Bundle, variance: float = 1e-4) -> tuple[np.ndarray, float]:
    """Return the command after many of the played latents, and its weight, by the formula."""
    mean = np.zeros(bundle.manifest.latent_dim)
    mean[:4] = [1.0, -0.4, 4.0, -6.0]
    spread = np.full(len(mean), variance)
    found = bundle.readout().apply(bundle.manifest.names, mean, spread)
    tip = np.append(TIP, 0.0)
    belief = HoleBelief(Fusion())
    for _ in range(10):
        belief.add_independent(sighting(found, tip))
    shares = weights(belief, tip, Blending())
    motion = blend(OPERATOR[[0, 1, 2, 5]], belief, tip, shares, Blending())
    return np.insert(motion, 3, [0.0, 0.0]), shares[0]


@pytest.fixture(scope="module")
def stage(assisted: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    domain = free_domain()
    log = tmp_path_factory.mktemp("demo") / "log"
    parameters = ("-p", f"bundle:={assisted.path}", "-p", "weight_rise_per_s:=5.0")
    program = Program(
        "smvae_tools.operators.shared_autonomy_demo", domain, log, "--ros-args", *parameters
    )
    stage = Stage(domain, assisted)
    stage.program = program  # type: ignore[attr-defined]
    yield stage
    stage.close()
    program.end()


def test_a_known_hole_gives_the_stated_command(stage: Stage, assisted: Bundle) -> None:
    wanted, share = expected(assisted)
    assert share == pytest.approx(0.889, abs=0.01)
    stage.play(
        lambda: stage.says("assisting") and stage.near(wanted) and abs(stage.weight - share) < 1e-3
    )
    assert stage.commands[-1].header.frame_id == "base_link"
    assert not np.allclose(wanted, OPERATOR)


def test_an_unsure_latent_moves_it_less(stage: Stage, assisted: Bundle) -> None:
    unsure, share = expected(assisted, variance=4.0)
    assert 0.0 < share < 0.3
    stage.epoch += 1
    stage.play(lambda: stage.says("assisting") and stage.near(unsure), spread=4.0)


def test_what_was_seen_counts_on_when_nobody_sees_any_more(stage: Stage, assisted: Bundle) -> None:
    wanted, _ = expected(assisted)
    stage.epoch += 1
    stage.play(lambda: stage.says("assisting") and stage.near(wanted))
    stage.play(lambda: stage.says("no latent for") and stage.near(wanted), latents=False)


FALLBACKS: dict[str, tuple[dict[str, Any], str]] = {
    "invalid": ({"valid": False}, "not valid"),
    "no input": (
        {"valid": False, "status": LatentState.NO_INPUT, "mean": [], "variance": []},
        "no input",
    ),
    "error": ({"valid": False, "status": LatentState.ERROR, "mean": []}, "reports an error"),
    "out of distribution": ({"status": LatentState.OUT_OF_DISTRIBUTION}, "out of distribution"),
    "old stamp": ({"age_s": 2.0}, "older than"),
    "stamp ahead": ({"age_s": -60.0}, "of the future"),
    "other model": ({"model_generation": 2}, "of another model"),
    "other size": ({"mean": [0.0], "variance": [1.0]}, "expected mean and variance"),
    "not a number": ({"spread": float("nan")}, "not finite"),
    "too sure": ({"spread": 0.0}, "variance is not positive"),
    "nobody speaks": ({"latents": False}, "no latent for"),
}


@pytest.mark.parametrize("case", FALLBACKS)
def test_who_cannot_be_trusted_leaves_the_operators_own_command(
    stage: Stage, assisted: Bundle, case: str
) -> None:
    changes, reason = FALLBACKS[case]
    wanted, _ = expected(assisted)
    stage.epoch += 1
    stage.latent()  # of another world: what was seen before is forgotten
    stage.play(
        lambda: stage.says(reason) and stage.weight == 0.0 and stage.near(OPERATOR), **changes
    )
    stage.play(lambda: stage.near(wanted))  # and helps again when it can


def test_a_new_epoch_has_to_settle(stage: Stage, assisted: Bundle) -> None:
    wanted, _ = expected(assisted)
    stage.play(lambda: stage.near(wanted))
    seen = len(stage.states)

    def settling() -> list[DiagnosticStatus]:
        return [s for s in stage.states[seen:] if "a new epoch settles" in s.message]

    def begin() -> list[DiagnosticStatus]:
        """Begin an epoch, whose first three latents do not count; a busy demo may say why not."""
        stage.epoch += 1
        for _ in range(3):
            stage.command(OPERATOR)
            stage.latent()
            stage.came_true(lambda: False, 0.04)
            count = len(stage.states)
            stage.arm()
            stage.until(lambda count=count: len(stage.states) > count)
        return settling()

    stage.until(begin)
    assert all(v.value == "0.0000" for s in settling() for v in s.values if v.key == "weight")
    stage.play(lambda: stage.near(wanted))


def test_another_bundle_on_the_node_is_named(stage: Stage, assisted: Bundle) -> None:
    stage.describe("f" * 64)
    stage.play(lambda: stage.says("give both the same bundle") and stage.near(OPERATOR))
    stage.describe(assisted.sha256)
    wanted, _ = expected(assisted)
    stage.play(lambda: stage.near(wanted))


def test_an_arm_that_does_not_say_where_it_is_gets_zero(stage: Stage) -> None:
    said = "the arm does not say where its tip is"
    stage.play(lambda: stage.says(said) and stage.near(np.zeros(6)), arm=False)


def test_a_pose_in_another_frame_is_refused(stage: Stage) -> None:
    def beat() -> bool:
        stage.arm(frame_id="world")
        stage.came_true(lambda: False, 0.04)
        return "the tip's pose refused" in stage.program.text()  # type: ignore[attr-defined]

    stage.until(beat)


def test_a_silent_operator_gets_zero_whatever_the_latent_says(stage: Stage) -> None:
    stage.play(lambda: stage.says("operator is silent") and stage.near(np.zeros(6)), operator=False)
    assert stage.weight == 0.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"frame_id": "tool0"}, "in 'tool0'"),
        ({"age_s": None}, "stamped 0 ns"),
        ({"age_s": 2e9}, "stamped -"),  # of a driver that subtracts: before 1970
    ],
)
def test_a_command_in_another_frame_or_without_a_stamp_is_refused(
    stage: Stage, given: dict[str, Any], said: str
) -> None:
    def beat() -> bool:
        stage.command(OPERATOR, **given)
        stage.came_true(lambda: False, 0.04)
        return said in stage.program.text()  # type: ignore[attr-defined]

    stage.until(beat)
    assert stage.near(np.zeros(6))


@pytest.mark.parametrize(("age_s", "said"), [(5.0, "is older than"), (-5.0, "of the future")])
def test_a_command_of_another_time_moves_nothing(stage: Stage, age_s: float, said: str) -> None:
    """Commands still arrive, from a bag or over a link that holds them back."""

    def beat() -> bool:
        stage.command(OPERATOR, age_s=age_s)
        stage.arm()
        stage.latent()
        stage.came_true(lambda: False, 0.04)
        return stage.says(said) and stage.near(np.zeros(6))

    stage.until(beat)
    assert stage.weight == 0.0


def test_what_changes_back_and_forth_does_not_flood_the_log(stage: Stage) -> None:
    """`~/assistance` tells every change; the log some, and what stands in the end."""

    def logged() -> list[str]:
        text: str = stage.program.text()  # type: ignore[attr-defined]
        return re.findall("the latent is older|assisting", text)

    before, begin_s = len(logged()), time.monotonic()
    for _ in range(15):
        stage.play(lambda: stage.says("the latent is older"), age_s=2.0)
        stage.play(lambda: stage.says("assisting"))
    assert len(logged()) - before <= (time.monotonic() - begin_s) / 2.0 + 1
    for age_s, said in ((0.0, "assisting"), (2.0, "the latent is older")):
        stage.play(lambda said=said: logged()[-1] == said, age_s=age_s)


def test_sigint_ends_it_cleanly(stage: Stage) -> None:
    program = stage.program  # type: ignore[attr-defined]
    assert program.interrupt() == 0, program.text()
    assert "Traceback" not in program.text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "parameter bundle is empty"),
        (("-p", "bundle:={bundle}"), "has no readout; `smvae readout BUNDLE --data EPISODES`"),
        (("-p", "bundle:={assisted}", "-p", "max_weight:=1.5"), "max_weight must be at most 1"),
        (("-p", "bundle:={assisted}", "-p", "near_m:=0.1"), "near_m must be below far_m"),
        (
            ("-p", "bundle:={assisted}", "-p", "area_low_m:=[1.0, 1.0, 1.0]"),
            "area_low_m must be below area_high_m",
        ),
        (
            ("-p", "bundle:={assisted}", "-p", "tip_timeout_s:=0.0"),
            "tip_timeout_s must be positive",
        ),
        (("-p", "bundle:={assisted}", "-p", "max_age_s:=-1.0"), "must be a positive number"),
    ],
)
def test_it_does_not_start_without_what_it_needs(
    tmp_path: Path,
    domain: int,
    bundle: Path,
    assisted: Bundle,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    given = [a.format(bundle=bundle, assisted=assisted.path) for a in arguments]
    program = Program(
        "smvae_tools.operators.shared_autonomy_demo", domain, tmp_path / "log", "--ros-args", *given
    )
    program.gives_up(said)


def test_the_perception_node_itself_is_trusted(
    start_node: Callable[..., Any],
    client: Any,
    domain: int,
    assisted: Bundle,
    strict: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Node and demo load the same bundle; played sensors make latents that it acts on."""
    start_node(bundle=assisted.path, parameters=strict)
    client.activate()
    arguments = ("--ros-args", "-p", f"bundle:={assisted.path}", "-p", "max_age_s:=5.0")
    program = Program(
        "smvae_tools.operators.shared_autonomy_demo", domain, tmp_path / "log", *arguments
    )
    states: list[Any] = client.listen(DiagnosticStatus, "/shared_autonomy_demo/assistance", 10)
    operator = client.node.create_publisher(TwistStamped, "/operator/command", 1)
    arm = [client.node.create_publisher(PoseStamped, f"/tip_{h}", 5) for h in ("pose", "setpoint")]

    def assisting() -> bool:
        command, pose = TwistStamped(), PoseStamped()
        command.header.stamp = pose.header.stamp = client.node.get_clock().now().to_msg()
        operator.publish(command)
        for publisher in arm:
            publisher.publish(pose)
        return any(s.message == "assisting" for s in states)

    try:
        client.play_until(tuple(assisted.manifest.names), assisting)
    finally:
        program.end()
