"""The paper's method beside its peers: one estimator, equal networks and data, a queue of runs."""
