"""The set over time on a robot: stamped samples, their filter, what they say of a moment."""
