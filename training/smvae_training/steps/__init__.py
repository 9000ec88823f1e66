"""One training step: its records, subsets and memory, and what happens around it."""
