"""`smvae view`: what a model sees, moment by moment, to rerun and as one picture."""
