"""Sensor messages with what they mean: builders, damage, and a second reading of every format.

`corpus` builds messages and damages them; `images`, `files` and `readings` say what each means,
slowly and by the formats' definitions. Nothing of `smvae_core.messages` is used, so that the two
can be held against each other (`benchmarks.malformed_messages`, `tests/ros`).
"""
