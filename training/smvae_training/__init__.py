"""Presets, trainer, evaluation, report, and the `smvae` command line."""
