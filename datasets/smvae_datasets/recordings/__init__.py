"""Recordings of robots -> episodes: all samples that were accepted, and steps that name them."""
