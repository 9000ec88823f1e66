"""What `ros2 run smvae_tools` starts and runs until it is told to end."""

from __future__ import annotations

from smvae_ros.lifecycle.entry import program

simulated_robot = program("smvae_tools.robot.simulated_robot")
sensor_schedule = program("smvae_tools.robot.sensor_schedule")
shared_autonomy_demo = program("smvae_tools.operators.shared_autonomy_demo")
imperfect_operator = program("smvae_tools.operators.imperfect_operator")
bag_recorder = program("smvae_tools.bags.recorder")
bag_player = program("smvae_tools.bags.player")
viewer = program("smvae_tools.viewer")
