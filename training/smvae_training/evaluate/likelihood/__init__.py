"""One evaluator for every method: likelihoods, checks, entropy, calibration and coherence."""
