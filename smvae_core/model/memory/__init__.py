"""Memory in torch: a set of stamped samples, the filter over it, and what a bundle holds of it."""
