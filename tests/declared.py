"""One declared modality of every kind, and sets that mix them."""

from __future__ import annotations

from smvae_core.modality import Modality
from smvae_core.presets import CELEBA, MNIST, VISION_TOUCH

SCAN = Modality(name="lidar", kind="scan", shape=(2, 64), unit="m, 1", source="lidar")
JOINTS = Modality(
    name="joints",
    kind="joint_state",
    shape=(4,),
    unit="rad, rad/s",
    fields=("position.j1", "position.j2", "velocity.j1", "velocity.j2"),
    options={"joints": ("j1", "j2"), "select": ("position", "velocity")},
    source="joints",
)
POSE = Modality(
    name="pose",
    kind="vector",
    shape=(3,),
    unit="m",
    fields=("pose.position.x", "pose.position.y", "pose.position.z"),
    message_type="geometry_msgs/msg/PoseStamped",
)
EVERY_KIND = (*VISION_TOUCH, SCAN, JOINTS, POSE, *MNIST, CELEBA[1])
