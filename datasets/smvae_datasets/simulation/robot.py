"""The simulated robot: a cell, an arm under impedance control, its sensors and its operator.

Order within a step t of 50 ms: the operator commands action_t, physics runs for 50 ms, then image,
depth, state and the 50 force readings of those 50 ms are taken. So the newest command stamped at or
before the observation is action_t.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import wrap_angle
from smvae_datasets.simulation.camera import Camera, OpticalFlow, camera_intrinsics
from smvae_datasets.simulation.cell import (
    HOLE_DEPTH_M,
    Cell,
    CellModel,
    Variation,
    draw_cell,
    variation_range,
)
from smvae_datasets.simulation.engine import load_model, mujoco
from smvae_datasets.simulation.errors import NotReset
from smvae_datasets.simulation.impedance import ImpedanceController, solve_pose
from smvae_datasets.simulation.scripted_operator import Operator

STEP_MS = 50
NOISE_STD = np.array([0.1, 0.1, 0.15, 0.004, 0.004, 0.002])
"""White noise of the force-torque sensor [N, N, N, N m, N m, N m] per 1 kHz reading."""
CONDITIONS = ("free", "contact", "jammed", "inserted")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One 20 Hz step in the Vision&Touch layout; robot base frame, quaternions w x y z."""

    image: NDArray[np.uint8]
    """(128, 128, 3) RGB."""
    depth_data: NDArray[np.float32]
    """(128, 128, 1) [m] along the optical axis."""
    ee_forces_continuous: NDArray[np.float32]
    """(50, 6) 1 kHz readings of what pulls at the wrist sensor [N, N, N, N m, N m, N m], in a frame
    that turns with the tool and whose z points up; at rest, z is minus the tool's weight plus bias
    and noise, and a push of the box on the peg adds to it."""
    action: NDArray[np.float32]
    """(4,) displacement commanded at the start of the step [m, m, m, rad]."""
    contact: NDArray[np.bool_]
    """(50,) True where peg or tool touched the box during that millisecond."""
    proprio: NDArray[np.float32]
    """(8,) tip x, y, z [m], yaw [rad], their rates [m/s, m/s, m/s, rad/s]."""
    optical_flow: NDArray[np.float32]
    """(128, 128, 2) [px] from the last image to this one; zero in an episode's first step."""
    ee_pos: NDArray[np.float32]
    """(3,) peg tip [m]."""
    ee_ori: NDArray[np.float32]
    """(4,) orientation of the tip frame (z up, x along the peg's own x)."""
    ee_vel: NDArray[np.float32]
    """(3,) tip velocity [m/s]."""
    ee_vel_ori: NDArray[np.float32]
    """(3,) angular velocity [rad/s], world axes."""
    ee_yaw: NDArray[np.float32]
    """(4,) the part of `ee_ori` that turns about the vertical: (cos yaw/2, 0, 0, sin yaw/2)."""
    ee_yaw_delta: NDArray[np.float32]
    """(4,) turn about the vertical since the last step, as a quaternion of the same form."""
    joint_pos: NDArray[np.float32]
    """(7,) [rad]."""
    joint_vel: NDArray[np.float32]
    """(7,) [rad/s]."""


def yaw_quaternion(yaw_rad: float) -> NDArray[np.float32]:
    """(4,) w x y z of a turn about z."""
    return np.array([cos(yaw_rad / 2), 0.0, 0.0, sin(yaw_rad / 2)], np.float32)


class SimulatedRobot:
    """Runs episodes of peg insertion.

    Args:
        seed: With the episode's number it fixes everything that happens.
        variation: "cell" for one lab cell, "wide" to widen all that varies.
        render: False leaves the camera out: `step` then gives zero images.

    Raises:
        UnknownSetting: If there is no such variation.
    """

    def __init__(
        self, *, seed: int = 0, variation: Variation = "cell", render: bool = True
    ) -> None:
        self._seed, self._ranges, self._render = seed, variation_range(variation), render
        self.model: Any = load_model()
        self.data: Any = mujoco.MjData(self.model)
        self._cell_model = CellModel(self.model)
        self._controller = ImpedanceController(self.model, self.data)
        self._camera: Camera | None = None
        self._flow = OpticalFlow()
        self._cell: Cell | None = None
        self._tip_site = int(self.model.site("peg_tip").id)
        self._tool_bodies = [int(self.model.body(name).id) for name in ("tool", "peg")]

    def reset(self, episode: int) -> None:
        """Begin an episode: a new cell, the tool at rest where the first attempt starts."""
        streams = [np.random.default_rng([self._seed, episode, stream]) for stream in range(3)]
        self._cell = draw_cell(streams[0], self._ranges, self._cell_model.nominal_colours)
        self._cell_model.apply(self._cell)
        self._operator = Operator(streams[1], self._cell.hole_pose, self._ranges)
        self._sensor_rng = streams[2]
        mujoco.mj_resetData(self.model, self.data)
        solve_pose(self.model, self.data, self._operator.start_pose)
        self._controller.reset()
        self._flow.reset()
        self._touched = False
        self._last_yaw = float(self._controller.tip[3])
        self._contact: NDArray[np.bool_] = np.zeros(STEP_MS, bool)
        self._peak_force_n = 0.0

    def step(self) -> Step:
        """Run one 20 Hz step."""
        action = self.begin_step()
        forces = self.advance(STEP_MS)
        image, depth_m = self.render()
        tip, velocity = self._controller.tip, self._tip_velocity()
        yaw = float(tip[3])
        turn, self._last_yaw = wrap_angle(yaw - self._last_yaw), yaw
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, self.data.site_xmat[self._tip_site])
        return Step(
            image=image,
            depth_data=depth_m[..., None],
            ee_forces_continuous=forces.astype(np.float32),
            action=action.astype(np.float32),
            contact=self._contact.copy(),
            proprio=np.array([*tip, *velocity[3:], velocity[2]], np.float32),
            optical_flow=self._flow.update(image),
            ee_pos=tip[:3].astype(np.float32),
            ee_ori=quaternion.astype(np.float32),
            ee_vel=velocity[3:].astype(np.float32),
            ee_vel_ori=velocity[:3].astype(np.float32),
            ee_yaw=yaw_quaternion(yaw),
            ee_yaw_delta=yaw_quaternion(turn),
            joint_pos=self.data.qpos.astype(np.float32),
            joint_vel=self.data.qvel.astype(np.float32),
        )

    def begin_step(self) -> NDArray[np.float64]:
        """Let the operator command the next 50 ms; the displacement (4,) [m, m, m, rad].

        Raises:
            NotReset: Before the first `reset`.
        """
        if self._cell is None:
            raise NotReset
        action = self._operator.act(self._controller.tip, self._controller.lead, self._touched)
        self.command(action)
        self._touched = False
        return action

    def command(self, displacement: NDArray[np.float64]) -> None:
        """Move the setpoint by (4,) [m, m, m, rad] over the next 50 ms, without the operator."""
        self._controller.command(displacement, STEP_MS)

    def advance(self, milliseconds: int) -> NDArray[np.float64]:
        """Run physics and control at 1 kHz.

        Returns:
            (milliseconds, 6) force-torque readings, as `Step.ee_forces_continuous`.

        Raises:
            NotReset: Before the first `reset`.
        """
        if self._cell is None:
            raise NotReset
        model, data, update, touches_box = (
            self.model,
            self.data,
            self._controller.update,
            self._cell_model.box_geoms,
        )
        readings = np.empty((milliseconds, 6))
        contact = np.zeros(milliseconds, bool)
        self._peak_force_n = 0.0
        for index in range(milliseconds):
            update()
            mujoco.mj_step(model, data)
            readings[index] = data.sensordata
            if data.ncon:
                contact[index] = touches_box[data.contact.geom].any()
                force = data.cfrc_ext[self._tool_bodies, 3:].sum(axis=0)
                self._peak_force_n = max(self._peak_force_n, float(np.linalg.norm(force)))
        self._contact = np.concatenate([self._contact, contact])[-STEP_MS:]
        self._touched = self._touched or bool(contact.any())
        # The engine gives the force of the arm on the tool; the sensor reads the tool's on the arm.
        noise = self._sensor_rng.standard_normal((milliseconds, 6)) * NOISE_STD
        return noise + self._cell.sensor_bias - readings

    def render(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Image (128, 128, 3) uint8 and depth (128, 128) float32 [m] of this moment, from one pass.

        Raises:
            MissingRenderer: If no OpenGL context can be made.
        """
        if not self._render:
            return np.zeros((128, 128, 3), np.uint8), np.zeros((128, 128), np.float32)
        if self._camera is None:
            self._camera = Camera(self.model)
        return self._camera.render(self.data)

    def close(self) -> None:
        """Free the camera's OpenGL context."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _tip_velocity(self) -> NDArray[np.float64]:
        """(6,) angular [rad/s], then linear [m/s] velocity of the tip, world axes."""
        velocity = np.zeros(6)
        mujoco.mj_objectVelocity(
            self.model, self.data, mujoco.mjtObj.mjOBJ_SITE, self._tip_site, velocity, 0
        )
        return velocity

    @property
    def camera_intrinsics(self) -> NDArray[np.float64]:
        """K (3, 3) [px] for the 128 x 128 images."""
        return camera_intrinsics(self.model)

    @property
    def cell(self) -> Cell:
        """This episode's cell.

        Raises:
            NotReset: Before the first `reset`.
        """
        if self._cell is None:
            raise NotReset
        return self._cell

    @property
    def phase(self) -> str:
        """What the operator is doing: approach, touch, search, insert, seat or withdraw."""
        return self._operator.phase

    @property
    def attempts(self) -> tuple[int, int]:
        """Attempts begun and attempts that seated the peg in this episode."""
        return self._operator.attempts, self._operator.successes

    @property
    def hole_pose(self) -> NDArray[np.float64]:
        """(4,) x, y, z [m] of the hole's centre in the box top, and yaw [rad]."""
        return self.cell.hole_pose.copy()

    @property
    def peg_pose(self) -> NDArray[np.float64]:
        """(4,) x, y, z [m] of the peg tip, and yaw [rad]."""
        return self._controller.tip

    @property
    def lead(self) -> NDArray[np.float64]:
        """(4,) setpoint minus tip [m, m, m, rad]: times the stiffness, what the arm pushes with."""
        return self._controller.lead

    @property
    def peak_contact_force_n(self) -> float:
        """Largest force of contacts on the tool and its peg during the last `advance` [N].

        Of each millisecond the norm of the sum of all contacts, by the engine: the tool's weight
        and the sensor's errors are no part of it.
        """
        return self._peak_force_n

    @property
    def condition(self) -> str:
        """The last step's condition by its physics, one of `CONDITIONS`.

        inserted: within 5 mm of the hole's floor. free: less than half of its readings in contact.
        jammed: in the hole, pushed down by more than 6 N, moving slower than 4 mm/s. contact: the
        rest.
        """
        depth = float(self.cell.hole_pose[2] - self._controller.tip[2])
        if depth > HOLE_DEPTH_M - 0.005:
            return "inserted"
        if self._contact.mean() < 0.5:
            return "free"
        pushed = float(self._controller.lead[2]) < -0.004
        stuck = abs(float(self._tip_velocity()[5])) < 0.004
        return "jammed" if depth > 0.0015 and pushed and stuck else "contact"
