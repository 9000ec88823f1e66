"""Damaged messages, converted right or refused: `python -m benchmarks.malformed_messages`.

120,000 messages of every type, nine in ten of them damaged (`benchmarks.messages.corpus`), go
through the conversions and through a second reading written from the formats' definitions. Each is
either converted to the array that it means, or refused for a fault that it has; anything else, any
other exception included, is a disagreement and fails the run. Counts go to
`benchmarks/results/malformed-conversions.json`. About a minute on one core.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from benchmarks.messages.corpus import draw
from benchmarks.messages.outcomes import Disagreement, outcome
from smvae_core.conversions import REASONS, decoder
from smvae_core.conversions.organised_cloud import reader
from smvae_training.hardware import source_version, versions
from smvae_training.run import write_text


@dataclass(frozen=True, kw_only=True)
class Options:
    """How many; everything by default."""

    messages: int = 120_000
    seed: int = 0
    out: Path = Path(__file__).parent / "results" / "malformed-conversions.json"


@dataclass
class Found:
    """What became of the messages."""

    damaged: int = 0
    """How many were damaged at all."""
    by_type: dict[str, Counter[str]] = field(default_factory=dict)
    """Outcomes by modality and message type."""
    wrong: list[Disagreement] = field(default_factory=list)


def run(messages: int, seed: int) -> Found:
    """Return what becomes of so many messages."""
    rng = np.random.default_rng(seed)
    found = Found()
    for _ in range(messages):
        sample = draw(rng)
        found.damaged += sample.damages > 0
        counts = found.by_type.setdefault(sample.label, Counter())
        try:
            counts[outcome(sample)] += 1
        except Disagreement as err:
            counts["disagreement"] += 1
            found.wrong.append(err)
    return found


def main() -> int:
    """Run, print the counts, write them, and return the exit status: 1 if anything is wrong."""
    options = tyro.cli(Options, prog="python -m benchmarks.malformed_messages", description=__doc__)
    found = run(options.messages, options.seed)
    total = sum(found.by_type.values(), Counter())
    for label, counts in [*sorted(found.by_type.items()), ("all", total)]:
        print(f"{label:45} {', '.join(f'{k} {v}' for k, v in counts.most_common())}")
    for err in found.wrong[:10]:
        print(f"\n{err}", file=sys.stderr)
    record = {
        "messages": options.messages,
        "damaged": found.damaged,
        "seed": options.seed,
        "converted": total["converted"],
        "refused": {reason: total[reason] for reason in REASONS if total[reason]},
        "disagreements": len(found.wrong),
        "by_type": {k: dict(v.most_common()) for k, v in sorted(found.by_type.items())},
        "image_decoder": decoder()[0],
        "cloud_reader": reader()[0],
        "code": source_version(),
        "versions": versions(),
    }
    write_text(options.out, json.dumps(record, indent=2) + "\n")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
