"""LeRobot folders: v2.0, v2.1 and v3 are read, v3 is written.

An episode of a folder is read as a bag is (`smvae_core.bags.Bag`): its columns are the topics, its
rows the messages.
"""

from smvae_datasets.lerobot.episode import LeRobotEpisode
from smvae_datasets.lerobot.folder import LeRobotError, LeRobotFolder, is_lerobot

__all__ = ["LeRobotEpisode", "LeRobotError", "LeRobotFolder", "is_lerobot"]
