"""The arm's own tip: where it is, where its setpoint is, and where it was at a stamp. No rclpy."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import Pose, difference

#: Poses kept [s], for estimates that are older than the newest.
KEPT_S = 2.0
#: No arm moves further between two messages [m]: the world is another one.
JUMP_M = 0.05


class TipListener:
    """Pairs messages of tip and setpoint by their stamp."""

    def __init__(self, frame_id: str) -> None:
        """Hear only of a frame; an empty one in a message is taken to be it."""
        self._frame_id = frame_id
        self._halves: dict[str, deque[tuple[int, Pose]]] = {
            half: deque(maxlen=20) for half in ("setpoint", "tip")
        }
        self._tips: deque[tuple[int, Pose]] = deque()
        self.lead: Pose = np.zeros(4)
        """Setpoint minus tip (4,) of the newest pair."""
        self.jumps = 0
        """How often the tip was suddenly somewhere else."""

    def refusal(self, message: Any) -> str:
        """Return what is wrong with a PoseStamped, or an empty string."""
        pose = pose_of(message)
        frame_id, stamp_ns = message.header.frame_id, stamp_of(message)
        if np.isfinite(pose).all() and frame_id in ("", self._frame_id) and stamp_ns > 0:
            return ""
        return (
            f"finite numbers in '{self._frame_id}' with a stamp are expected, got "
            f"{pose.tolist()} in '{frame_id}', stamped {stamp_ns} ns"
        )

    def setpoint(self, message: Any) -> float | None:
        """Take a good PoseStamped of the setpoint.

        Returns:
            Time since the pair before [s] where it makes a pair, 0 for the first; else None.
        """
        return self._paired("setpoint", "tip", message)

    def tip(self, message: Any) -> float | None:
        """Take a good PoseStamped of the tip, as `setpoint`; whichever comes later makes a pair."""
        return self._paired("tip", "setpoint", message)

    def _paired(self, half: str, other: str, message: Any) -> float | None:
        stamp_ns = stamp_of(message)
        self._halves[half].append((stamp_ns, pose_of(message)))
        if all(ns != stamp_ns for ns, _ in self._halves[other]):
            return None
        poses = {h: next(p for ns, p in self._halves[h] if ns == stamp_ns) for h in self._halves}
        return self._take(stamp_ns, poses["tip"], poses["setpoint"])

    def _take(self, stamp_ns: int, tip: Pose, setpoint: Pose) -> float | None:
        elapsed_s = 0.0
        if self._tips:
            last_ns, last = self._tips[-1]
            elapsed_s = (stamp_ns - last_ns) * 1e-9
            if -KEPT_S < elapsed_s <= 0.0:
                return None  # late: a newer pair has come
            if elapsed_s < 0.0 or float(np.linalg.norm(tip[:3] - last[:3])) > JUMP_M:
                self.jumps += 1
                self._tips.clear()
                elapsed_s = 0.0
        self._tips.append((stamp_ns, tip))
        while stamp_ns - self._tips[0][0] > KEPT_S * 1e9:
            self._tips.popleft()
        self.lead = difference(setpoint, tip)
        return elapsed_s

    @property
    def newest(self) -> Pose | None:
        """(4,) where the tip is."""
        return self._tips[-1][1] if self._tips else None

    def at(self, stamp_ns: int) -> Pose | None:
        """Return where the tip was at a stamp (4,), None if that is not known any more."""
        if not self._tips or stamp_ns < self._tips[0][0]:
            return None
        return min(self._tips, key=lambda kept: abs(kept[0] - stamp_ns))[1]


def pose_of(message: Any) -> NDArray[np.float64]:
    """Return x, y, z [m] and yaw [rad] (4,) of a PoseStamped."""
    p, q = message.pose.position, message.pose.orientation
    yaw = math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y * q.y + q.z * q.z))
    return np.array([p.x, p.y, p.z, yaw])


def stamp_of(message: Any) -> int:
    """Return the stamp of a message [ns]."""
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)
