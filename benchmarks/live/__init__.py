"""How fast the node answers, beside an rclpy node that only answers; see `__main__`."""
