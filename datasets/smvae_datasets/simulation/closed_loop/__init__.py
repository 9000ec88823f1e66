"""Attempts in simulated time: operator, controller, failing sensors, who sees the hole."""
