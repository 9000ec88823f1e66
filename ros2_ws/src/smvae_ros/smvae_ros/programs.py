"""What `ros2 run smvae_ros` starts."""

from __future__ import annotations

from smvae_ros.lifecycle.entry import program

perception_node = program("smvae_ros.perception_node")
