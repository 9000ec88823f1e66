"""Malformed messages, converted right or refused: `python -m benchmarks.malformed_messages`.

120,000 messages of every type are played, nine in ten damaged (`benchmarks.messages.corpus`),
and 108,000 that Hypothesis builds field by field (`benchmarks.messages.strategies`). Each goes
through the conversions, and through a second reading written from the formats' definitions. It must
be converted to the array that it means, or refused for a fault that it has. Anything else, any
other exception too, is a disagreement and fails the run. Counts go to
`benchmarks/results/malformed-conversions.json`. About seven minutes on one core.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import hypothesis
import numpy as np
from rich.progress import track

from benchmarks.command import options_of
from benchmarks.messages.corpus import Sample, draw
from benchmarks.messages.outcomes import OF_STAMPS, Disagreement, outcome
from benchmarks.messages.strategies import BUILT
from smvae_core.files import write_text
from smvae_core.messages import REASONS, decoder
from smvae_core.messages.organised_cloud import reader
from smvae_training.hardware import source_version, versions

#: Messages that Hypothesis builds before it forgets what it has built.
RUN = 2000


@dataclass(frozen=True, kw_only=True)
class Options:
    """How many; everything by default."""

    messages: int = 120_000
    """Well formed, then damaged."""
    built: int = 108_000
    """Built by Hypothesis, the same number of every type."""
    seed: int = 0
    out: Path = Path(__file__).parent / "results" / "malformed-conversions.json"


@dataclass
class Found:
    """What became of the messages."""

    damaged: int = 0
    """How many were damaged at all."""
    built: int = 0
    """How many Hypothesis built."""
    by_type: dict[str, Counter[str]] = field(default_factory=dict)
    """Outcomes by modality and message type."""
    wrong: list[Disagreement] = field(default_factory=list)

    def take(self, sample: Sample) -> None:
        """Count what becomes of a message."""
        self.damaged += sample.damages > 0
        counts = self.by_type.setdefault(sample.label, Counter())
        try:
            counts[outcome(sample)] += 1
        except Disagreement as err:
            counts["disagreement"] += 1
            self.wrong.append(err)


def damaged(messages: int, seed: int, found: Found) -> None:
    """Count what becomes of so many messages of the corpus."""
    rng = np.random.default_rng(seed)
    for _ in track(range(messages), "damaged messages"):
        found.take(draw(rng))


def built(messages: int, seed: int, found: Found) -> None:
    """Count what becomes of so many messages built by Hypothesis, in runs of its own memory."""
    of_each = ceil(messages / len(BUILT))
    runs = [(n, label) for label in BUILT for n in range(ceil(of_each / RUN))]
    for number, label in track(runs, "messages built by Hypothesis"):

        @hypothesis.seed(seed + number)
        @hypothesis.settings(
            max_examples=min(RUN, of_each),
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(BUILT[label])
        def one(sample: Sample) -> None:
            found.built += 1
            found.take(sample)

        one()


def main() -> int:
    """Run, print the counts, write them, and return the exit status: 1 if anything is wrong."""
    options = options_of(Options, "benchmarks.malformed_messages", __doc__)
    found = Found()
    damaged(options.messages, options.seed, found)
    built(options.built, options.seed, found)
    total = sum(found.by_type.values(), Counter())
    for label, counts in [*sorted(found.by_type.items()), ("all", total)]:
        print(f"{label:45} {', '.join(f'{k} {v}' for k, v in counts.most_common())}")
    for err in found.wrong[:10]:
        print(f"\n{err}", file=sys.stderr)
    record = {
        "messages": options.messages + found.built,
        "built_by_hypothesis": found.built,
        "damaged": found.damaged,
        "seed": options.seed,
        "converted": total["converted"],
        "refused": {r: total[r] for r in (*OF_STAMPS, *REASONS) if total[r]},
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
