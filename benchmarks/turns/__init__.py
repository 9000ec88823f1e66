"""Contenders that are measured in turns, each in a process of its own, with any Python."""
