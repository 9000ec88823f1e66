"""Pegs seated by operators with and without help: what the demo shows of a bundle in the loop."""
