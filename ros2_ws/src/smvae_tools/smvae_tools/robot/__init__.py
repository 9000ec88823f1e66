"""A simulated robot: its node, parameters and publishers, and the walk through its sensors."""
