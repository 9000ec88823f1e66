"""What a model makes of a recorded bag, offline and deterministic, by the node's own rules."""
