"""The simulated robot's mechanics, controller and force-torque sensor, without a camera."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("smvae_datasets.simulation.engine", exc_type=ImportError)

from smvae_datasets.simulation.cell import HOLE_DEPTH_M, SURFACE_M
from smvae_datasets.simulation.engine import load_model
from smvae_datasets.simulation.errors import NotReset, UnknownSetting
from smvae_datasets.simulation.impedance import STIFFNESS
from smvae_datasets.simulation.robot import CONDITIONS, NOISE_STD, SimulatedRobot

TOOL_WEIGHT_N = 9.81
JOINTS = [f"joint{i}" for i in range(1, 8)]


@pytest.fixture
def robot() -> SimulatedRobot:
    robot = SimulatedRobot(seed=3, render=False)
    robot.reset(0)
    return robot


def press_on_box(
    robot: SimulatedRobot, offset_m: tuple[float, float], steps: int = 40
) -> np.ndarray:
    """Move the tip over the box and push down; the last readings (50, 6)."""
    hole = robot.hole_pose
    above = hole + np.array([*offset_m, 0.02, 0.0])
    for goal, count in ((above, 40), (above - np.array([0, 0, 0.04, 0]), steps)):
        for _ in range(count):
            robot.command(np.clip(0.2 * (goal - robot.peg_pose), -0.01, 0.01))
            readings = robot.advance(50)
    return readings


def test_joint_limits_and_torques_are_the_published_ones() -> None:
    model = load_model()
    limits = [model.joint(name).range for name in JOINTS]
    expected = np.array([2.967, 2.094, 2.967, 2.094, 2.967, 2.094, 3.054])
    np.testing.assert_allclose(limits, np.stack([-expected, expected], 1))
    np.testing.assert_allclose(model.actuator_ctrlrange[:, 1], [320, 320, 176, 176, 110, 40, 40])


def test_link_masses_and_offsets_are_the_published_ones() -> None:
    model = load_model()
    names = ["base"] + [f"link{i}" for i in range(1, 8)]
    np.testing.assert_allclose(
        [model.body(n).mass[0] for n in names], [5, 5.76, 6.35, 3.5, 3.5, 3.5, 1.8, 1.2]
    )
    offsets = [model.body(n).pos for n in [*names[1:], "tool"]]
    lengths = [0.1575, 0.2025, 0.2045, 0.2155, 0.1845, 0.2155, 0.081, 0.045]
    np.testing.assert_allclose(offsets, [[0, 0, length] for length in lengths])
    assert model.body("peg").mass[0] == 0  # the tool's inertia includes it


def test_at_rest_the_sensor_reads_the_tools_weight_bias_and_noise(robot: SimulatedRobot) -> None:
    for _ in range(10):
        robot.command(np.zeros(4))
        readings = robot.advance(50)
    expected = robot.cell.sensor_bias + np.array([0, 0, -TOOL_WEIGHT_N, 0, 0, 0])
    tolerance = 5 * NOISE_STD / np.sqrt(50) + np.repeat(
        [0.15, 0.01], 3
    )  # and a slightly tilted tool
    np.testing.assert_array_less(np.abs(readings.mean(0) - expected), tolerance)
    np.testing.assert_allclose(readings.std(0), NOISE_STD, rtol=0.5)


@pytest.mark.parametrize("axis", range(4))
def test_the_tool_follows_a_commanded_displacement_in_free_space(
    robot: SimulatedRobot, axis: int
) -> None:
    before = robot.peg_pose
    displacement = np.zeros(4)
    displacement[axis] = 0.004 if axis < 3 else 0.02
    for step in range(30):
        robot.command(displacement if step < 10 else np.zeros(4))
        robot.advance(50)
    moved = robot.peg_pose - before
    np.testing.assert_allclose(moved[:3], 10 * displacement[:3], atol=0.0015)
    assert moved[3] == pytest.approx(10 * displacement[3], abs=0.01)
    vertical = robot.data.site("peg_tip").xmat[8]
    assert vertical > 0.9999  # roll and pitch are held


def test_pressing_on_the_box_raises_the_vertical_force_and_the_contact_flags(
    robot: SimulatedRobot,
) -> None:
    bias = robot.cell.sensor_bias[2]
    readings = press_on_box(robot, (0.05, 0.04))
    assert robot.condition == "contact"
    assert robot.peg_pose[2] == pytest.approx(SURFACE_M, abs=0.001)
    push = readings[:, 2].mean() - bias + TOOL_WEIGHT_N
    assert 8 < push < 35
    np.testing.assert_allclose(push, -STIFFNESS[2] * robot._controller.lead[2], rtol=0.2)


def test_the_contact_force_leaves_out_the_tools_weight_and_is_what_the_arm_pushes_with(
    robot: SimulatedRobot,
) -> None:
    robot.advance(50)
    assert robot.peak_contact_force_n == 0.0
    readings = press_on_box(robot, (0.04, 0.0))
    pushed_n = -STIFFNESS[2] * robot.lead[2]
    assert pushed_n > 10.0
    assert robot.peak_contact_force_n == pytest.approx(pushed_n, rel=0.1)
    assert robot.peak_contact_force_n == pytest.approx(readings[:, 2].max() + TOOL_WEIGHT_N, abs=2)


@pytest.mark.parametrize("shape", ["square", "triangle"])
def test_an_aligned_peg_slides_to_the_bottom_of_its_hole_and_a_turned_one_does_not(
    shape: str,
) -> None:
    robot = SimulatedRobot(seed=5, render=False)
    for episode in range(20):
        robot.reset(episode)
        if robot.cell.peg_shape == shape:
            break
    depths = []
    for turn in (0.0, 0.5):
        robot.reset(episode)
        hole = robot.hole_pose + np.array([0, 0, 0, turn])
        for height in (0.02, -0.05):
            for _ in range(60):
                goal = hole + np.array([0, 0, height, 0])
                robot.command(np.clip(0.2 * (goal - robot.peg_pose), -0.01, 0.01))
                robot.advance(50)
        depths.append(SURFACE_M - robot.peg_pose[2])
    assert depths[0] == pytest.approx(HOLE_DEPTH_M, abs=0.002)
    assert depths[1] < 0.005


def test_joint_torques_stay_within_their_limits_and_joints_within_their_ranges(
    robot: SimulatedRobot,
) -> None:
    for _ in range(60):
        robot.begin_step()
        robot.advance(50)
        assert np.all(np.abs(robot.data.actuator_force) <= robot.model.actuator_ctrlrange[:, 1])
        assert np.all(np.abs(robot.data.qpos) < robot.model.jnt_range[:, 1])


@pytest.mark.parametrize("variation", ["cell", "wide"])
def test_the_cell_varies_within_its_stated_range(variation: str) -> None:
    robot = SimulatedRobot(seed=0, variation=variation, render=False)
    reach, turn, start = (0.02, 0.3, 0.15) if variation == "cell" else (0.05, 0.6, 0.18)
    holes = []
    for episode in range(12):
        robot.reset(episode)
        holes.append(robot.hole_pose)
        away = robot.peg_pose[:3] - robot.hole_pose[:3] - np.array([0, 0, 0.02])
        assert np.linalg.norm(away) <= start + 1e-3
        assert robot.peg_pose[2] > SURFACE_M
    offsets = np.abs(np.array(holes) - np.array([0.55, 0, SURFACE_M, 0]))
    assert np.all(offsets.max(0) <= [reach, reach, 0, turn])
    assert np.all(offsets.max(0)[[0, 1, 3]] >= 0.5 * np.array([reach, reach, turn]))


def test_free_motion_contact_jamming_and_insertion_all_occur() -> None:
    robot = SimulatedRobot(seed=0, render=False)
    seen: dict[str, int] = dict.fromkeys(CONDITIONS, 0)
    for episode in range(6):
        robot.reset(episode)
        for _ in range(250):
            robot.begin_step()
            robot.advance(50)
            seen[robot.condition] += 1
    assert all(seen.values()), seen
    share = 1 - seen["free"] / sum(seen.values())
    assert 0.25 < share < 0.65, seen


def test_advancing_in_pieces_equals_advancing_at_once() -> None:
    whole, pieces = (SimulatedRobot(seed=1, render=False) for _ in range(2))
    for robot in (whole, pieces):
        robot.reset(4)
        robot.begin_step()
    at_once = whole.advance(50)
    in_pieces = np.concatenate([pieces.advance(ms) for ms in (1, 2, 7, 40)])
    np.testing.assert_array_equal(at_once, in_pieces)


def test_an_episode_does_not_depend_on_what_ran_before() -> None:
    fresh, used = (SimulatedRobot(seed=1, render=False) for _ in range(2))
    used.reset(0)
    for _ in range(5):
        used.begin_step()
        used.advance(50)
    fresh.reset(7)
    used.reset(7)
    for _ in range(5):
        np.testing.assert_array_equal(fresh.begin_step(), used.begin_step())
        np.testing.assert_array_equal(fresh.advance(50), used.advance(50))


def test_moving_before_the_first_episode_is_refused() -> None:
    robot = SimulatedRobot(render=False)
    with pytest.raises(NotReset, match=r"call reset\(episode\) first"):
        robot.begin_step()
    with pytest.raises(NotReset, match="no episode yet"):
        robot.advance(1)


def test_an_unknown_variation_is_refused() -> None:
    with pytest.raises(
        UnknownSetting, match="variation is 'narrow': expected one of 'cell', 'wide'"
    ):
        SimulatedRobot(variation="narrow")  # type: ignore[arg-type]
