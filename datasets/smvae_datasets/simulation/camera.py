"""The fixed camera: colour and metric depth from one rendering pass, and optical flow."""

from __future__ import annotations

import os
from math import radians, tan
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_datasets.simulation.cell import HIDDEN_GROUP
from smvae_datasets.simulation.engine import mujoco
from smvae_datasets.simulation.errors import MissingRenderer

SIDE_PX = 128
DEPTH_RESOLUTION_M = np.float32(2.0**-14)
"""Depth comes in multiples of this, 0.06 mm: digits below it mean nothing and fill the disk."""
FLOW_RESOLUTION_PX = np.float32(2.0**-6)
"""Flow likewise."""


class Camera:
    """Renders the camera `front` off screen.

    The OpenGL context belongs to the thread that renders first; use one camera from one thread.

    Args:
        model: MjModel of the cell. Colours, light and shown geoms are read anew for each picture.

    Raises:
        MissingRenderer: If no OpenGL context can be made.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        backend = os.environ.get("MUJOCO_GL", "")
        try:
            self._context: Any = mujoco.GLContext(SIDE_PX, SIDE_PX)
            self._context.make_current()
            self._render_context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        except Exception as err:  # the backends raise their own unrelated classes
            raise MissingRenderer(backend, err) from err
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._render_context)
        # Depth reversed, 1 near and 0 far: float32 then keeps its precision far away.
        self._render_context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(model, 200)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._options = mujoco.MjvOption()
        self._options.geomgroup[HIDDEN_GROUP] = 0
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = model.camera("front").id
        self._viewport = mujoco.MjrRect(0, 0, SIDE_PX, SIDE_PX)
        self._rgb = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
        self._z = np.zeros((SIDE_PX, SIDE_PX), np.float32)

    def render(self, data: Any) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Image (128, 128, 3) RGB and depth (128, 128) [m] along the optical axis."""
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._options,
            None,
            self._view,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._viewport, self._scene, self._render_context)
        mujoco.mjr_readPixels(self._rgb, self._z, self._viewport, self._render_context)
        # OpenGL's rows go upwards. z = 1 is the near plane, 0 the far one.
        extent = float(self._model.stat.extent)
        near = np.float32(self._model.vis.map.znear * extent)
        far = np.float32(self._model.vis.map.zfar * extent)
        depth_m = near * far / (near + self._z[::-1] * (far - near))
        depth_m = np.rint(depth_m / DEPTH_RESOLUTION_M) * DEPTH_RESOLUTION_M
        return self._rgb[::-1].copy(), depth_m

    def close(self) -> None:
        """Free the OpenGL context; the camera is of no use afterwards."""
        self._render_context.free()
        self._context.free()


def camera_intrinsics(model: Any) -> NDArray[np.float64]:
    """Pinhole matrix K (3, 3) [px] of the camera `front`: square pixels, no skew."""
    focal = 0.5 * SIDE_PX / tan(0.5 * radians(float(model.camera("front").fovy[0])))
    centre = 0.5 * SIDE_PX - 0.5  # pixel centres at whole numbers, as OpenCV and ROS count
    return np.array([[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]])


class OpticalFlow:
    """Motion of every pixel since the last frame, by OpenCV's DIS (Kroeger et al. 2016)."""

    def __init__(self) -> None:
        self._method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._last: NDArray[np.uint8] | None = None

    def reset(self) -> None:
        """Forget the last frame: the next flow is zero."""
        self._last = None

    def update(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow (128, 128, 2) [px per frame], x to the right and y down."""
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        last, self._last = self._last, grey
        if last is None:
            return np.zeros((*grey.shape, 2), np.float32)
        flow = np.zeros((*grey.shape, 2), np.float32)
        flow = np.asarray(self._method.calc(last, grey, flow), dtype=np.float32)
        return np.rint(flow / FLOW_RESOLUTION_PX) * FLOW_RESOLUTION_PX
