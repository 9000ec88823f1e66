"""Training beside MultiVae's own trainer: the same networks, batch and records, in turns."""
