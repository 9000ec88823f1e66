"""Episodes of the door as bags: what the sensors of robot.yaml sent, and what was true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from benchmarks.door.assistance import DoorAssistance
from benchmarks.door.attempt import steps
from benchmarks.door.operator import DoorOperator, OperatorKind
from benchmarks.door.simulator import DoorRobot
from benchmarks.door.timing import READING_MS, SEE_STEPS, STEP_MS, STEP_S
from smvae_core.robot import read_robot

ROBOT = Path(__file__).with_name("robot.yaml")
#: Episodes end after so long, or when the door is open [s].
EPISODE_S = 20.0
#: The operator knows the handle, but wanders first: to so many places around it, for so many steps
#: each, up to so far away along each axis [m]. So gripper and handle are seen in many relations.
RECORDED = OperatorKind(aim_m=(0.0, 0.01), tremor=0.02)
PLACES, PLACE_STEPS, AWAY_M = 3, 48, np.array([0.09, 0.09, 0.06])
#: Numbers of episodes are not those of attempts.
FIRST = 100_000
JOINTS = [f"joint{i}" for i in range(1, 8)]
START_NS, MS = 1_700_000_000_000_000_000, 1_000_000


class Bag:
    """A bag with the topics of robot.yaml."""

    def __init__(self, path: Path) -> None:
        """Create it.

        Args:
            path: Its folder, which must not exist.
        """
        robot, self._store = read_robot(ROBOT), get_typestore(Stores.ROS2_JAZZY)
        channels = [s.channel for s in robot.sensors] + [t.channel for t in robot.targets]
        self._types = {channel.topic: channel.type for channel in channels}
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._topics = {
            topic: self._writer.add_connection(topic, name, typestore=self._store)
            for topic, name in self._types.items()
        }

    def close(self) -> None:
        """Write its end."""
        self._writer.close()

    def write(self, topic: str, stamp_ns: int, *members: Any) -> None:
        """Write a message of its members in their order, but for the header."""
        name = self._types[topic]
        if not name.startswith("std_msgs"):
            members = (self._header(stamp_ns), *members)
        message = self._store.types[name](*members)
        self._writer.write(self._topics[topic], stamp_ns, self._store.serialize_cdr(message, name))

    def vector(self, values: NDArray[np.float64]) -> Any:
        """Return three numbers as a part of a message."""
        return self._store.types["geometry_msgs/msg/Vector3"](*map(float, values))

    def wrench(self, reading: NDArray[np.float64]) -> Any:
        """Return force and torque (6,) as a part of a message."""
        parts = self.vector(reading[:3]), self.vector(reading[3:])
        return self._store.types["geometry_msgs/msg/Wrench"](*parts)

    def layout(self) -> Any:
        """Return what stands before a list of numbers."""
        return self._store.types["std_msgs/msg/MultiArrayLayout"]([], 0)

    def _header(self, stamp_ns: int) -> Any:
        stamp = self._store.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
        return self._store.types["std_msgs/msg/Header"](stamp, "base")


def record(robot: DoorRobot, number: int, path: Path) -> bool:
    """Write an episode; return whether the door was opened."""
    robot.reset(FIRST + number)
    rng = np.random.default_rng([FIRST, number])
    operator = DoorOperator(rng, RECORDED, STEP_S)
    aim = operator.aim_error
    bag, sent = Bag(path), 0
    for step in steps(robot, operator, DoorAssistance(), EPISODE_S):
        if step <= PLACES * PLACE_STEPS:
            operator.phase = "approach"
            if step % PLACE_STEPS == 0:
                last = step == PLACES * PLACE_STEPS
                operator.aim_error = aim if last else AWAY_M * rng.uniform(-1.0, 1.0, 3)
        now = START_NS + (step + 1) * STEP_MS * MS
        fresh = robot.readings[sent:]
        for at, reading in enumerate(fresh, 1 - len(fresh)):
            bag.write("/wrench", now + at * READING_MS * MS, bag.wrench(reading))
        sent += len(fresh)
        bag.write("/joint_states", now, JOINTS, robot.joints, np.zeros(0), np.zeros(0))
        door = robot.door
        turn = np.sin(door.turn_rad), np.cos(door.turn_rad)
        bag.write("/door/offset", now, bag.vector(robot.tip[:3] - door.handle))
        bag.write("/door/handle", now, bag.layout(), np.append(door.handle, turn))
        bag.write("/door/hinge", now, door.hinge_rad)
        if step % SEE_STEPS == 0:
            for name, image in robot.images().items():
                height, width, _ = image.shape
                seen = height, width, "rgb8", 0, 3 * width, image.reshape(-1)
                bag.write(f"/{name}/image", now, *seen)
    bag.close()
    return robot.opened
