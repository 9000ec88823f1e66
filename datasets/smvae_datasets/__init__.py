"""Episodes on disk (Vision&Touch layout), the training cache, and the simulated robot."""
