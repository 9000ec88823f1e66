"""A robot, declared: its sensors with their channels, what is recorded beside, and its episodes."""

from smvae_core.robot.declaration import (
    Channel,
    EpisodeRules,
    Qos,
    RecordedTarget,
    Robot,
    RobotError,
    Sensor,
)
from smvae_core.robot.reading import read_robot
from smvae_core.robot.writing import to_yaml, write_yaml

__all__ = [
    "Channel",
    "EpisodeRules",
    "Qos",
    "RecordedTarget",
    "Robot",
    "RobotError",
    "Sensor",
    "read_robot",
    "to_yaml",
    "write_yaml",
]
