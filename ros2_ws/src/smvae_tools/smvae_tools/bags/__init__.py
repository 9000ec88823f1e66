"""Bags recorded and played, where `ros2 bag` is not installed."""
