"""robosuite's Door as a robot: a Panda with impedance control, a latched door, two cameras.

The environment is robosuite's own but for its start: the door stands within a wider range, also of
heights, and the gripper already points at it. All poses are in the robot's base frame.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import mujoco
import numpy as np
import robosuite
from numpy.typing import NDArray
from robosuite.controllers import load_composite_controller_config
from robosuite.utils.placement_samplers import UniformRandomSampler
from scipy.spatial.transform import Rotation

from benchmarks.door.state import DoorState
from benchmarks.door.timing import READING_MS, STEP_MS
from smvae_core.assistance.pose import Pose, difference

#: robosuite's cameras by the names of our sensors, and their side [px].
CAMERAS = {"side": "sideview", "hand": "robot0_eye_in_hand"}
SIDE = 128
#: Where the door may stand: its place on the table [m], its turn [rad], above the table [m].
DOOR_X_M, DOOR_Y_M, DOOR_TURN_RAD, DOOR_UP_M = (0.02, 0.14), (-0.03, 0.03), 0.25, 0.08
#: Where the gripper starts: the middle [m], and how far from it in x, y and z at most [m].
START_M, START_RANGE_M = np.array([0.43, -0.05, 0.20]), np.array([0.08, 0.04, 0.08])
#: The gripper's axes in the base frame, by column: it points along -y, its fingers open along z.
POINTING = Rotation.from_matrix([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
#: Control steps that bring the gripper from robosuite's start to ours.
HOMING_STEPS = 80


class Placement(UniformRandomSampler):
    """Puts the door down anywhere in the range; above the table as well."""

    def sample(self, *args: object, **kwargs: object) -> Mapping[str, object]:
        self.z_offset = self.rng.uniform(0.0, DOOR_UP_M)
        return super().sample(*args, **kwargs)


class DoorRobot:
    """The environment, step by step. An episode's number fixes the door and the start."""

    def __init__(self, seed: int, *, render: bool) -> None:
        """Build the environment; takes seconds.

        Args:
            seed: With an episode's number it fixes that.
            render: Whether images are wanted.
        """
        logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
        config = load_composite_controller_config(controller=None, robot="Panda")
        config["body_parts"]["right"] |= {"input_type": "absolute", "input_ref_frame": "base"}
        self._seed = seed
        self._env = robosuite.make(
            "Door",
            robots="Panda",
            controller_configs=config,
            placement_initializer=Placement(
                name="ObjectSampler",
                x_range=DOOR_X_M,
                y_range=DOOR_Y_M,
                rotation=(-np.pi / 2 - DOOR_TURN_RAD, -np.pi / 2),
                ensure_object_boundary_in_range=False,
                reference_pos=(-0.2, -0.35, 0.8),
            ),
            has_renderer=False,
            has_offscreen_renderer=render,
            use_camera_obs=False,
            use_object_obs=False,
            control_freq=1000 / READING_MS,
            ignore_done=True,
            hard_reset=False,
        )
        for name in self._env.observation_names:  # nobody reads them
            self._env.modify_observable(name, "enabled", False)
        self._robot = self._env.robots[0]
        self._arm = self._robot.part_controllers["right"]
        self._data = self._env.sim.data
        if render:
            flags = self._env.sim._render_context_offscreen.scn.flags
            flags[mujoco.mjtRndFlag.mjRND_SHADOW] = flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._home: NDArray[np.float64] | None = None
        self.readings: list[NDArray[np.float64]] = []
        """(6,) force [N] and torque [N m] every READING_MS, of one step before the episode and of
        the episode so far."""
        self.reset(0)
        self._setpoint = np.append(START_M, np.pi)
        for _ in range(HOMING_STEPS):
            self.advance(closed=False)
        # the last joint half a turn back, so that it can follow the handle down
        self._home = self.joints - np.pi * np.eye(7)[6]

    def reset(self, number: int) -> None:
        """Begin an episode."""
        rng = np.random.default_rng([self._seed, number])
        self._env.rng = self._env.placement_initializer.rng = rng
        self._env.reset()
        self._arm = self._robot.part_controllers["right"]  # a reset makes another
        if self._home is not None:
            self._robot.set_robot_joint_positions(self._home)
            self._env.sim.forward()
            start = START_M + rng.uniform(-1.0, 1.0, 3) * START_RANGE_M
            self._setpoint = np.append(start, 0.0)
            for _ in range(HOMING_STEPS // 4):
                self.advance(closed=False)
            self.readings.clear()
            self.advance(closed=False)

    def command(self, displacement: NDArray[np.float64]) -> None:
        """Move what the impedance control pulls the gripper to (4,) [m, m, m, rad]."""
        self._setpoint = self._setpoint + displacement

    def advance(self, *, closed: bool) -> None:
        """Go on for a control step.

        Args:
            closed: Whether the gripper is to close.
        """
        pointing = Rotation.from_euler("y", self._setpoint[3]) * POINTING
        grip = 1.0 if closed else -1.0
        action = np.concatenate([self._setpoint[:3], pointing.as_rotvec(), [grip]])
        for _ in range(STEP_MS // READING_MS):
            self._env.step(action)
            force, torque = self._robot.ee_force["right"], self._robot.ee_torque["right"]
            self.readings.append(np.concatenate([force, torque]))

    def images(self) -> dict[str, NDArray[np.uint8]]:
        """Return each camera's image (SIDE, SIDE, 3) RGB."""
        return {
            name: self._env.sim.render(width=SIDE, height=SIDE, camera_name=camera)[::-1].copy()
            for name, camera in CAMERAS.items()
        }

    @property
    def tip(self) -> Pose:
        """(4,) the middle between the fingertips [m] and its turn about y [rad], by the joints."""
        site = self._robot.eef_site_id["right"]
        turned = Rotation.from_matrix(self._data.site_xmat[site].reshape(3, 3)) * POINTING.inv()
        return np.append(self._data.site_xpos[site] - self._arm.origin_pos, turned.as_rotvec()[1])

    @property
    def lead(self) -> Pose:
        """(4,) setpoint minus tip [m, m, m, rad]."""
        return difference(self._setpoint, self.tip)

    @property
    def joints(self) -> NDArray[np.float64]:
        """(7,) positions [rad]."""
        return np.array(self._robot._joint_positions)

    @property
    def door(self) -> DoorState:
        """What is true now."""
        env, position = self._env, self._data.qpos
        panel = self._data.body_xmat[env.object_body_ids["door"]].reshape(3, 3)
        return DoorState(
            handle=np.array(self._data.site_xpos[env.door_handle_site_id] - self._arm.origin_pos),
            turn_rad=float(np.arctan2(-panel[1, 0], -panel[0, 0])),
            latch_rad=float(position[env.handle_qpos_addr]),
            hinge_rad=float(position[env.hinge_qpos_addr]),
        )

    @property
    def opened(self) -> bool:
        """Whether the door is open, by robosuite's own measure."""
        return bool(self._env._check_success())
