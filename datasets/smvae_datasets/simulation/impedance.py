"""Cartesian impedance control: a spring and a damper between the peg tip and a setpoint.

    tau = J^T (K e + D (v_d - J q')) + N^T (k (q_0 - q) - d q') + b(q, q')

J is the tip's Jacobian (6, 7), e the pose error (position, then rotation), v_d the setpoint's
velocity, N = I - J^+ J the null-space projector that damps the elbow and holds it near q_0, b
gravity and Coriolis forces. x, y, z and yaw follow the setpoint; roll and pitch are held vertical.
"""

from __future__ import annotations

from math import atan2, cos, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import wrap_angle
from smvae_datasets.simulation.engine import mujoco

STIFFNESS = np.array([1500.0, 1500.0, 1500.0, 500.0, 500.0, 40.0])
"""N/m for x, y, z; N m/rad for roll, pitch, yaw."""
DAMPING = np.array([200.0, 200.0, 200.0, 45.0, 45.0, 4.0])
"""N s/m; N m s/rad."""
LEAD_LIMIT = np.array([0.02, 0.02, 0.02, 0.3])
"""The setpoint leads the tip by at most this [m, m, m, rad]: 30 N per axis."""
NULL_STIFFNESS = 8.0
NULL_DAMPING = 4.0
JACOBIAN_PERIOD_MS = 5
"""The matrices are computed anew this often; the arm turns by less than 0.01 rad in between."""


class ImpedanceController:
    """Computes joint torques at 1 kHz; `command` moves the setpoint.

    Args:
        model: MjModel of the cell.
        data: MjData it reads the state from and writes the torques to.
    """

    def __init__(self, model: Any, data: Any) -> None:
        self._model, self._data = model, data
        self._site = int(model.site("peg_tip").id)
        self._rest = np.array(model.key_qpos[0])
        self._position: NDArray[np.float64] = data.site_xpos[
            self._site
        ]  # views: the engine updates them
        self._rotation: NDArray[np.float64] = data.site_xmat[self._site]
        self._jacobian = np.zeros((6, 7))
        self._gain = np.zeros((7, 26))
        self._state = np.zeros(26)  # e (6), v_d (6), q' (7), q_0 - q (7)
        self._torque = np.zeros(7)
        self._setpoint = np.zeros(4)
        self._increment = np.zeros(4)
        self._remaining_ms = 0
        self._tick = 0

    @property
    def tip(self) -> NDArray[np.float64]:
        """(4,) x, y, z [m] and yaw [rad] of the peg tip in the robot base frame."""
        rotation = self._rotation
        return np.array([*self._position, atan2(rotation[3], rotation[0])])

    @property
    def lead(self) -> NDArray[np.float64]:
        """(4,) setpoint minus tip [m, m, m, rad]: times the stiffness, the force the arm exerts."""
        lead = self._setpoint - self.tip
        lead[3] = wrap_angle(float(lead[3]))
        return lead

    def reset(self) -> None:
        """Put the setpoint on the tip, at rest. The engine's kinematics must be up to date."""
        self._setpoint[:] = self.tip
        self._increment[:] = 0.0
        self._remaining_ms = self._tick = 0

    def command(self, displacement: NDArray[np.float64], duration_ms: int) -> None:
        """Move the setpoint by `displacement` (4,) [m, m, m, rad] evenly over `duration_ms`."""
        tip = self.tip
        lead = self._setpoint + displacement - tip
        lead[3] = wrap_angle(float(lead[3]))
        goal = tip + np.clip(lead, -LEAD_LIMIT, LEAD_LIMIT)
        change = goal - self._setpoint
        change[3] = wrap_angle(float(change[3]))
        self._increment[:] = change / duration_ms
        self._remaining_ms = duration_ms

    def update(self) -> None:
        """Write the torques of the next millisecond into `data.ctrl`."""
        data, state, setpoint = self._data, self._state, self._setpoint
        if self._remaining_ms:
            self._remaining_ms -= 1
            setpoint += self._increment
            state[6:9] = self._increment[:3]
            state[11] = self._increment[3]
            state[6:12] *= 1000.0
        else:
            state[6:12] = 0.0
        if self._tick % JACOBIAN_PERIOD_MS == 0:
            self._update_gain()
        self._tick += 1
        np.subtract(setpoint[:3], self._position, out=state[:3])
        r = self._rotation.tolist()
        c, s = cos(setpoint[3]), sin(setpoint[3])
        # Rotation error: half the axial vector of R_d R^T - R R_d^T, with R_d a turn about z.
        state[3] = 0.5 * (r[5] - s * r[6] - c * r[7])
        state[4] = 0.5 * (c * r[6] - s * r[7] - r[2])
        state[5] = 0.5 * (s * r[0] + c * r[1] - c * r[3] + s * r[4])
        state[12:19] = data.qvel
        np.subtract(self._rest, data.qpos, out=state[19:])
        np.dot(self._gain, state, out=self._torque)
        self._torque += data.qfrc_bias
        data.ctrl[:] = self._torque

    def _update_gain(self) -> None:
        jacobian, gain = self._jacobian, self._gain
        mujoco.mj_jacSite(self._model, self._data, jacobian[:3], jacobian[3:], self._site)
        gain[:, :6] = jacobian.T * STIFFNESS
        gain[:, 6:12] = jacobian.T * DAMPING
        gram = jacobian @ jacobian.T
        gram.flat[::7] += 1e-6
        null = np.eye(7) - jacobian.T @ np.linalg.solve(gram, jacobian)  # symmetric: N^T N = N
        gain[:, 12:19] = -gain[:, 6:12] @ jacobian - NULL_DAMPING * null
        gain[:, 19:] = NULL_STIFFNESS * null


def solve_pose(model: Any, data: Any, pose: NDArray[np.float64]) -> None:
    """Set `data.qpos` so that the peg tip stands at `pose` (4,) [m, m, m, rad], vertical, at rest.

    Damped least squares from the keyframe; ends with up-to-date kinematics and dynamics.
    """
    mujoco.mj_resetDataKeyframe(model, data, 0)
    site = int(model.site("peg_tip").id)
    jacobian, error = np.zeros((6, 7)), np.zeros(6)
    target = np.array(
        [[cos(pose[3]), -sin(pose[3]), 0], [sin(pose[3]), cos(pose[3]), 0], [0, 0, 1]]
    )
    for _ in range(100):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        difference = target @ data.site_xmat[site].reshape(3, 3).T
        error[:3] = pose[:3] - data.site_xpos[site]
        error[3:] = 0.5 * (difference[[2, 0, 1], [1, 2, 0]] - difference[[1, 2, 0], [2, 0, 1]])
        if np.abs(error).max() < 1e-9:
            break
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
        gram = jacobian @ jacobian.T + 1e-8 * np.eye(6)
        data.qpos[:] += jacobian.T @ np.linalg.solve(gram, error)
        np.clip(data.qpos, model.jnt_range[:, 0], model.jnt_range[:, 1], out=data.qpos)
    mujoco.mj_forward(model, data)
