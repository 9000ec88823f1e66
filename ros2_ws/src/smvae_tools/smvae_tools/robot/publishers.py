"""What the simulated robot publishes: sensors, their calibration, and the truth for evaluation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from smvae_core.messages import ConversionOptions
from smvae_core.messages.base import set_header
from smvae_core.modality import Modality
from smvae_core.presets import VISION_TOUCH

CAMERA_FRAME = "camera_optical_frame"
WRIST_FRAME = "wrist"
"""Turns with the tool; its z points up."""
BASE_FRAME = "base_link"
STEP_TIME_S = 0.05
OFFSETS = ("offset.x [m]", "offset.y [m]", "offset.z [m]", "offset.yaw [rad]")
"""Values of the true state: peg tip minus hole."""


def _offered(depth: int) -> QoSProfile:
    """Reliable, so that a recorder loses nothing; best-effort subscribers match it as well."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


class RobotPublishers:
    """Turns the robot's arrays into messages and sends them."""

    def __init__(self, node: Node, intrinsics: NDArray[np.float64], side: int = 128) -> None:
        """Make the publishers on the node.

        Args:
            node: Whose topics they are.
            intrinsics: Camera matrix (3, 3) in pixels of the published images.
            side: Width and height of the images.
        """
        self._modality: dict[str, Modality] = {m.kind: m for m in VISION_TOUCH}
        self._options = ConversionOptions(step_time_s=STEP_TIME_S)
        self._images: dict[str, Publisher] = {}
        self._infos: dict[str, Publisher] = {}
        self._truth: dict[str, Publisher] = {}
        for sensor in ("rgb", "depth"):
            self._images[sensor] = node.create_publisher(Image, f"{sensor}/image", _offered(20))
            info = node.create_publisher(CameraInfo, f"{sensor}/camera_info", _offered(20))
            self._infos[sensor] = info
            truth = node.create_publisher(Image, f"~/ground_truth/{sensor}", _offered(40))
            self._truth[sensor] = truth
        self._wrench = node.create_publisher(WrenchStamped, "wrench", _offered(1000))
        self._action = node.create_publisher(TwistStamped, "action", _offered(20))
        self._state = node.create_publisher(DiagnosticArray, "~/ground_truth/state", _offered(40))
        self._tip = node.create_publisher(PoseStamped, "tip_pose", _offered(20))
        self._setpoint = node.create_publisher(PoseStamped, "tip_setpoint", _offered(20))
        self._info = camera_info(intrinsics, side)

    def _fill(self, kind: str, message: Any, sample: Any, stamp_ns: int, frame: str) -> Any:
        modality = self._modality[kind]
        return modality.converter().fill(modality, message, sample, stamp_ns, frame, self._options)

    def publish_rgb(self, image: NDArray[np.uint8], stamp_ns: int) -> None:
        """Send colour (H, W, 3) uint8 RGB and its calibration."""
        message = self._fill("color_image", Image(), image, stamp_ns, CAMERA_FRAME)
        self._publish_image("rgb", message, stamp_ns)

    def publish_depth(self, depth_m: NDArray[np.float32], stamp_ns: int) -> None:
        """Send depth (H, W) float32 m as 32FC1 and its calibration."""
        message = self._fill("depth_image", Image(), depth_m, stamp_ns, CAMERA_FRAME)
        self._publish_image("depth", message, stamp_ns)

    def _publish_image(self, sensor: str, message: Image, stamp_ns: int) -> None:
        self._images[sensor].publish(message)
        set_header(self._info, stamp_ns, CAMERA_FRAME)
        self._infos[sensor].publish(self._info)

    def publish_wrench(self, reading: NDArray[np.float64], stamp_ns: int) -> None:
        """Send one reading (6,) in N and N m."""
        self._wrench.publish(self._fill("signal", WrenchStamped(), reading, stamp_ns, WRIST_FRAME))

    def publish_action(self, displacement: NDArray[np.float64], stamp_ns: int) -> None:
        """Send the command (4,) [m, m, m, rad] of the next 50 ms as a twist."""
        self._action.publish(
            self._fill("command", TwistStamped(), displacement, stamp_ns, BASE_FRAME)
        )

    def publish_tip(
        self, tip: NDArray[np.float64], lead: NDArray[np.float64], stamp_ns: int
    ) -> None:
        """Send the setpoint, then the tip, as the arm knows them: (4,) each [m, m, m, rad].

        `lead` is setpoint minus tip.
        """
        for publisher, pose in ((self._setpoint, tip + lead), (self._tip, tip)):
            message = PoseStamped()
            set_header(message, stamp_ns, BASE_FRAME)
            position, orientation = message.pose.position, message.pose.orientation
            position.x, position.y, position.z = (float(v) for v in pose[:3])
            half = 0.5 * float(pose[3])
            orientation.w, orientation.z = math.cos(half), math.sin(half)
            publisher.publish(message)

    @property
    def truth_is_watched(self) -> bool:
        return any(p.get_subscription_count() > 0 for p in self._truth.values())

    def publish_truth(
        self, image: NDArray[np.uint8], depth_m: NDArray[np.float32], stamp_ns: int
    ) -> None:
        """Send what the cameras would see, whatever sensor is off, to whoever subscribed."""
        for sensor, kind, sample in (
            ("rgb", "color_image", image),
            ("depth", "depth_image", depth_m),
        ):
            if self._truth[sensor].get_subscription_count() > 0:
                message = self._fill(kind, Image(), sample, stamp_ns, CAMERA_FRAME)
                self._truth[sensor].publish(message)

    def publish_state(
        self, offset: NDArray[np.float64], condition: str, phase: str, stamp_ns: int
    ) -> None:
        """Send peg tip minus hole (4,) [m, m, m, rad], condition and the operator's phase."""
        values = {name: f"{v:.6f}" for name, v in zip(OFFSETS, offset, strict=True)}
        values |= {"condition": condition, "contact": str(condition != "free").lower()}
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK,
            name="peg insertion",
            message=phase,
            values=[KeyValue(key=k, value=v) for k, v in values.items()],
        )
        message = DiagnosticArray(status=[status])
        set_header(message, stamp_ns, BASE_FRAME)
        self._state.publish(message)


def camera_info(intrinsics: NDArray[np.float64], side: int) -> CameraInfo:
    """Return the calibration of an ideal camera with this matrix (3, 3)."""
    info = CameraInfo(width=side, height=side, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = intrinsics.reshape(-1).tolist()
    info.r = np.eye(3).reshape(-1).tolist()
    info.p = np.hstack([intrinsics, np.zeros((3, 1))]).reshape(-1).tolist()
    return info
