"""A simulated robot in MuJoCo: an arm that inserts a peg, with camera and force-torque sensor.

`robot.SimulatedRobot` is the robot, `simulate.simulate` writes its episodes to disk, `cell.xml` is
the world. MuJoCo is imported by `engine` alone, so that options and help texts work without it.
"""
