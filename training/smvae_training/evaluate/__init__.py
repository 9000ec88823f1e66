"""Scores of a run on held-out episodes: likelihoods, errors, ratios to the mean image, probes."""
