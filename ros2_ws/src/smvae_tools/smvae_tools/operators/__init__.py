"""Who commands the robot: an operator that aims beside the hole, and the node that helps it."""
