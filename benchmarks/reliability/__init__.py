"""What the node promises, measured live over real DDS: `python -m benchmarks.reliability NAME`.

One module per measurement. Each starts a perception node in a process of its own on a random
domain, and plays sensors to it. Its `Result` says which promises were kept, with the raw figures,
and is written to `benchmarks/results/reliability-NAME.json`. `python -m
benchmarks.reliability.page` makes RELIABILITY.md of them.
"""
