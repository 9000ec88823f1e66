"""The report of an evaluation: one HTML file, its sections, and what its figures share."""
