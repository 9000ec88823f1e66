"""Helping an operator to put a peg into a hole whose place is estimated, without ROS or torch.

`controller.Assistance` is the whole: it takes the operator's motion, the robot's own pose and what
a latent says of the hole, and gives the motion to command. A motion is (4,) velocities of the tip
along x, y, z [m/s] and about z [rad/s], a pose (4,) x, y, z [m] and yaw [rad], both in the robot's
base frame. The rest of the package is what it is made of, one concept per file.
"""
