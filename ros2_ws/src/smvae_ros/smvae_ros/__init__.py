"""SMVAE as a ROS 2 lifecycle node."""
