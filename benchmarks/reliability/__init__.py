"""What the node promises, measured live over real DDS: `python -m benchmarks.reliability NAME`.

One module per measurement. Each starts a perception node in a process of its own on a random
domain, plays sensors to it, and gives a `Result` of promises kept or broken with the raw figures,
which is written to `benchmarks/results/reliability-NAME.json`. RELIABILITY.md is made of them by
`python -m benchmarks.reliability.page`.
"""
