"""What is around the node: a simulated robot, operators, bags, schedules, and file writers."""
