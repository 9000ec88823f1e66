# ruff: noqa: E402
"""The simulated camera: metric depth, colour and depth of one pass, optical flow. Needs EGL."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes.util import find_library
from dataclasses import fields

import numpy as np
import pytest

engine = pytest.importorskip("smvae_datasets.simulation.engine", exc_type=ImportError)
mujoco = engine.mujoco

from smvae_datasets.simulation.camera import SIDE_PX, Camera, OpticalFlow
from smvae_datasets.simulation.cell import HIDDEN_GROUP
from smvae_datasets.simulation.errors import MissingRenderer
from smvae_datasets.simulation.robot import SimulatedRobot, Step


@pytest.fixture(scope="module")
def robot() -> Iterator[SimulatedRobot]:
    if find_library("EGL") is None:
        pytest.skip("libEGL is not installed: apt-get install libegl1 libgl1")
    robot = SimulatedRobot(seed=2)
    robot.reset(0)
    yield robot
    robot.close()


EXPECTED = {
    "image": ((128, 128, 3), np.uint8),
    "depth_data": ((128, 128, 1), np.float32),
    "ee_forces_continuous": ((50, 6), np.float32),
    "action": ((4,), np.float32),
    "contact": ((50,), np.bool_),
    "proprio": ((8,), np.float32),
    "optical_flow": ((128, 128, 2), np.float32),
    "ee_pos": ((3,), np.float32),
    "ee_ori": ((4,), np.float32),
    "ee_vel": ((3,), np.float32),
    "ee_vel_ori": ((3,), np.float32),
    "ee_yaw": ((4,), np.float32),
    "ee_yaw_delta": ((4,), np.float32),
    "joint_pos": ((7,), np.float32),
    "joint_vel": ((7,), np.float32),
}


def test_a_step_has_every_field_finite_and_in_its_shape(robot: SimulatedRobot) -> None:
    robot.reset(0)
    robot.step()
    step = robot.step()
    assert {field.name for field in fields(Step)} == set(EXPECTED)
    for name, (shape, dtype) in EXPECTED.items():
        array = getattr(step, name)
        assert array.shape == shape, name
        assert array.dtype == dtype, name
        assert np.isfinite(array).all(), name
    np.testing.assert_allclose(np.linalg.norm(step.ee_ori), 1, atol=1e-6)
    np.testing.assert_allclose(step.proprio[:3], step.ee_pos)
    yaw = 2 * np.arctan2(step.ee_yaw[3], step.ee_yaw[0])
    np.testing.assert_allclose(yaw, step.proprio[3], atol=1e-6)
    assert step.image.std() > 10


def test_depth_in_metres_equals_the_distance_along_a_ray(robot: SimulatedRobot) -> None:
    robot.reset(1)
    robot.advance(1)
    _, depth_m = robot.render()
    model, data = robot.model, robot.data
    camera = data.cam_xpos[0], data.cam_xmat[0].reshape(3, 3)
    shown = np.array([1, 1, 1, 0, 1, 1], np.uint8)
    assert shown[HIDDEN_GROUP] == 0
    inverse = np.linalg.inv(robot.camera_intrinsics)
    errors = []
    for row in range(4, 128, 8):
        for column in range(4, 128, 8):
            x, y, z = inverse @ [
                column,
                row,
                1.0,
            ]  # z = 1: the ray's length is depth times its norm
            ray = camera[1] @ np.array([x, -y, -z])  # OpenGL's camera looks along -z, y up
            length = np.linalg.norm(ray)
            geom = np.zeros(1, np.int32)
            distance = mujoco.mj_ray(model, data, camera[0], ray / length, shown, 1, -1, geom)
            neighbours = depth_m[row - 1 : row + 2, column - 1 : column + 2]
            if np.ptp(neighbours) < 0.02:  # not across an edge
                errors.append(abs(distance / length - depth_m[row, column]))
    assert len(errors) > 150
    assert np.median(errors) < 5e-4
    assert np.max(errors) < 5e-3


def test_depth_lies_within_the_range_the_loaders_keep(robot: SimulatedRobot) -> None:
    _, depth_m = robot.render()
    assert 0.1 < depth_m.min() < depth_m.max() < 2.0


def test_the_peg_is_drawn_where_the_intrinsics_project_it(robot: SimulatedRobot) -> None:
    robot.reset(3)
    robot.advance(1)
    image, _ = robot.render()
    centre = robot.data.site("peg_tip").xpos + np.array([0, 0, 0.012])
    position, rotation = robot.data.cam_xpos[0], robot.data.cam_xmat[0].reshape(3, 3)
    x, y, z = rotation.T @ (centre - position)
    column, row, _ = robot.camera_intrinsics @ [x / -z, -y / -z, 1.0]
    red, green, blue = image[round(row), round(column)].astype(float)
    assert red > 2 * max(green, blue), (row, column)


def test_only_the_episodes_own_peg_is_shown_and_touches(robot: SimulatedRobot) -> None:
    for episode in range(4):
        robot.reset(episode)
        other = {"square": "triangle", "triangle": "square"}[robot.cell.peg_shape]
        for name, bits in ((f"peg_{robot.cell.peg_shape}", 1), (f"peg_{other}", 0)):
            geom = robot.model.geom(name)
            assert int(geom.contype[0]) == bits
            assert (int(geom.group[0]) == HIDDEN_GROUP) == (bits == 0)


def test_the_same_seed_and_episode_give_the_same_arrays(robot: SimulatedRobot) -> None:
    other = SimulatedRobot(seed=2)
    for one in (robot, other):
        one.reset(5)
    for _ in range(3):
        step, again = robot.step(), other.step()
        for field in fields(Step):
            np.testing.assert_array_equal(getattr(step, field.name), getattr(again, field.name))
    other.close()


def test_rendering_does_not_change_the_physics(robot: SimulatedRobot) -> None:
    blind = SimulatedRobot(seed=2, render=False)
    for one in (robot, blind):
        one.reset(6)
    for _ in range(4):
        np.testing.assert_array_equal(
            robot.step().ee_forces_continuous, blind.step().ee_forces_continuous
        )


def test_optical_flow_finds_a_shift_and_is_zero_on_the_first_frame() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    frame = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    flow = OpticalFlow()
    np.testing.assert_array_equal(flow.update(frame), 0)
    shifted = np.roll(frame, 2, axis=1)
    np.testing.assert_allclose(
        np.median(flow.update(shifted)[16:-16, 16:-16], axis=(0, 1)), [2, 0], atol=0.3
    )


def test_a_missing_renderer_is_named(
    monkeypatch: pytest.MonkeyPatch, robot: SimulatedRobot
) -> None:
    def broken(width: int, height: int) -> None:
        raise RuntimeError(f"no display for {width}x{height}")

    monkeypatch.setattr("smvae_datasets.simulation.camera.mujoco.GLContext", broken)
    with pytest.raises(MissingRenderer, match=f"no display for {SIDE_PX}x{SIDE_PX}.*libegl1"):
        Camera(robot.model)
