"""Seeing what a model sees: one moment at a time, to a viewer in a process of its own."""
