"""What memory costs a robot: one new force sample to a latent, with a full memory and with none.

`python -m benchmarks.outage.memory_cost BUNDLE [--out FILE]`: CPU time of the calling thread, in
pairs that take turns, of what the node does for a latent: embed the new sample, pool, judge
novelty. The bundle needs a memory; without calibrated novelty that part costs nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from smvae_core.bundle import Bundle
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.source import Source
from smvae_core.kinds import Converter
from smvae_core.modality import Modality
from smvae_core.perceiver import Perceiver
from smvae_core.runtime import Runtime

RATE_HZ, MEMORY_S = 30, 5.0
#: Latents of a turn, and turns.
LATENTS, TURNS = 30, 40
#: What the ratio may be at most.
LIMIT = 1.3
AS_IT_IS = Source(converter=Converter("", lambda modality, value, options: value, lambda *_: None))


class Robot:
    """All sensors at a rate, and a perceiver of their latents."""

    def __init__(self, path: Path, memory_s: float, novelty: bool) -> None:
        bundle = Bundle.load(path)
        if not novelty:
            bundle = replace(bundle, manifest=replace(bundle.manifest, novelty=None))
        self.runtime = Runtime(bundle)
        self.modalities = self.runtime.modalities
        self.perceiver = Perceiver(self.runtime)
        self.perceiver.configure({m.name: AS_IT_IS for m in self.modalities}, memory_s)
        self.collector = Collector(self.modalities)
        self.collector.set_late(self.runtime.late_s(memory_s))
        self.samples = {
            m.name: [m.example_sample(seed) for seed in range(8)] for m in self.modalities
        }
        self.number = 0

    def feed(self, modalities: tuple[Modality, ...]) -> float:
        """Store a sample of each, of one moment; return the steady time."""
        self.number += 1
        now_s = self.number / RATE_HZ
        stamp = 10**15 + round(now_s * 1e9)
        for modality in modalities:
            sample = self.samples[modality.name][self.number % 8]
            values = [sample]
            if modality.family.is_window:
                values = list(sample)
            for index, value in enumerate(values):
                before_ns = (len(values) - 1 - index) * 1_000_000
                self.collector.add(modality.name, stamp - before_ns, value, now_s)
        return now_s

    def latent(self, now_s: float) -> None:
        """Make one of what is newest."""
        observe = self.collector.observe
        observation = observe(now_s)
        self.collector.tell(observation)
        seen = self.perceiver.perceive(
            1, observation, lambda *_: None, lambda reference: observe(now_s, reference)
        )
        assert seen is not None

    def fill(self) -> None:
        """Make the latents of all sensors for as long as memory lasts."""
        for _ in range(round(1.2 * MEMORY_S * RATE_HZ)):
            self.latent(self.feed(self.modalities))

    def turn(self) -> list[float]:
        """Return the CPU time of each latent after a new force sample [s]."""
        force = tuple(m for m in self.modalities if m.family.is_window) or self.modalities[-1:]
        self.latent(self.feed(self.modalities))
        spent_s: list[float] = []
        for _ in range(LATENTS):
            now_s = self.feed(force)
            began_s = time.thread_time()
            self.latent(now_s)
            spent_s.append(time.thread_time() - began_s)
        return spent_s


def measure(bundle: Path) -> dict[str, Any]:
    """Return milliseconds of both, with and without novelty, and their ratio.

    Medians of turns and of the ratios of their pairs; and of all latents the lowest tenth, which
    other work on the machine disturbed least.
    """
    robots = {
        label: (Robot(bundle, MEMORY_S, novelty), Robot(bundle, 0.0, novelty))
        for label, novelty in (("latent", False), ("latent and novelty", True))
    }
    for pair in robots.values():
        for robot in pair:
            robot.fill()
    remembering, _ = robots["latent"]
    recall = remembering.runtime.recall
    if recall is None:
        raise SystemExit(f"{bundle} has no memory")
    found: dict[str, Any] = {
        "elements": {
            remembering.modalities[i].name: each.elements
            for i, each in recall.memory.listed().items()
        }
    }
    for label, (remembering, forgetting) in robots.items():
        turns = [(remembering.turn(), forgetting.turn()) for _ in range(TURNS)]
        pairs = [(statistics.fmean(a), statistics.fmean(b)) for a, b in turns]
        memory_s, moment_s = (
            statistics.quantiles((s for turn in turns for s in turn[which]), n=10)[0]
            for which in (0, 1)
        )
        found[label] = {
            "memory_ms": 1e3 * statistics.median(a for a, _ in pairs),
            "moment_ms": 1e3 * statistics.median(b for _, b in pairs),
            "ratio": statistics.median(a / b for a, b in pairs),
            "lowest_tenth": {
                "memory_ms": 1e3 * memory_s,
                "moment_ms": 1e3 * moment_s,
                "ratio": memory_s / moment_s,
            },
        }
    return found | {"limit": LIMIT, "turns": TURNS, "latents": LATENTS, "rate_hz": RATE_HZ}


def main() -> None:
    """Measure, print, and write where asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.outage.memory_cost", description=__doc__)
    parser.add_argument("bundle", type=Path, help="of a model with a memory")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    found = measure(arguments.bundle)
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
