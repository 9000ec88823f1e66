"""Robots of other make: recorded ones, with many sensors, with records that lack some."""
