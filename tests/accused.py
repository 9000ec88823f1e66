"""Bundles whose scales accuse some sensors, whatever they send, and a desk that perceives.

By suspicion the others speak against them; by novelty the sets that hold them are novel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from smvae_core.bundle import Bundle, write_bundle
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import SuspicionRule
from smvae_core.fusion.source import Source
from smvae_core.kinds import Converter
from smvae_core.modality import subset_name
from smvae_core.novelty.scale import Novelty, Tail, component
from smvae_core.novelty.suspicion import EVIDENCE, MISFIT, Suspicion, given, scale_key
from smvae_core.perceiver import Perceived, Perceiver
from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime

#: Scales on which every sample is ordinary, and on which each is without precedent.
USUAL = Tail(values=(1e6,), surprises=(0.0,), slope=1.0)
UNHEARD_OF = Tail(values=(-1e6,), surprises=(0.0,), slope=1.0)


def accusing(names: tuple[str, ...], *accused: str) -> Suspicion:
    """Return scales by which the others speak against some sensors, in every set of them."""
    scales, limits = {}, {}
    for name in names:
        for others in _sets(tuple(n for n in names if n != name)):
            scales[scale_key(MISFIT, name, others)] = UNHEARD_OF if name in accused else USUAL
            limits[given(name, others)] = dict.fromkeys(EVIDENCE, 0.85)
    return Suspicion(names=names, scales=scales, limits=limits)


def _sets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for size in range(1, len(names) + 1):
        yield from combinations(names, size)


def accusing_bundle(plain: Path, out: Path, *accused: str) -> Path:
    """Write a copy of a bundle with such scales."""
    loaded = Bundle.load(plain)
    graphs = {role: loaded.read_graph(role) for role in loaded.manifest.graphs}
    manifest = replace(loaded.manifest, suspicion=accusing(loaded.manifest.names, *accused))
    return write_bundle(out, manifest, graphs, memory=loaded.memory()).path


def scoring(names: tuple[str, ...], score: Callable[[tuple[str, ...]], float]) -> Novelty:
    """Return a novelty that gives each set of sensors a score of its own, whatever they send."""
    sets = [tuple(n for n in names if n in each) for each in _sets(names)]
    components = {
        component(each, statistic, name): USUAL
        for each in sets
        for statistic in ("reconstruction", "conflict", "texture", "smooth")
        for name in each
    }
    subsets = {
        subset_name(each): Tail(values=(0.0,), surprises=(score(each),), slope=1.0) for each in sets
    }
    return Novelty(components=components, subsets=subsets)


def scoring_bundle(plain: Path, out: Path, score: Callable[[tuple[str, ...]], float]) -> Path:
    """Write a copy of a bundle with such a novelty."""
    loaded = Bundle.load(plain)
    graphs = {role: loaded.read_graph(role) for role in loaded.manifest.graphs}
    manifest = replace(loaded.manifest, novelty=scoring(loaded.manifest.names, score))
    return write_bundle(out, manifest, graphs, memory=loaded.memory()).path


def plain_bundle(out: Path) -> Path:
    """Export a small untrained model of `vision_touch(32)`, calibrated for nothing."""
    import torch

    from smvae_core.model.config import ModelConfig
    from smvae_core.model.export import export_bundle
    from smvae_core.model.smvae import SMVAE
    from smvae_core.preprocessing import measure_statistics, prepare

    torch.manual_seed(0)
    modalities = vision_touch(32)
    config = ModelConfig(modalities=modalities, latent_dim=8, embedding_dim=32, base_channels=4)
    statistics = {
        m.name: measure_statistics(m, np.stack([prepare(m, m.example_sample(s)) for s in range(8)]))
        for m in modalities
    }
    return export_bundle(SMVAE(config), statistics, out)


#: What comes as single samples.
FED = ("rgb", "depth", "action")
T0 = 1_000_000_000_000


class Desk:
    """A collector that is fed samples as they are, and a perceiver that judges them."""

    def __init__(self, bundle: Path, rule: SuspicionRule) -> None:
        self.runtime = Runtime(bundle)
        self.perceiver = Perceiver(self.runtime)
        as_it_is = Converter("", lambda modality, value, options: value, lambda *_: None)
        sources = {m.name: Source(converter=as_it_is) for m in self.runtime.modalities}
        self.perceiver.configure(sources, suspicion=rule)
        self.collector = Collector(self.runtime.modalities)
        self.now_s = 0.0

    def see(self, names: tuple[str, ...] = FED, count: int = 1) -> Perceived:
        """Perceive moments of fresh samples, a tenth of a second apart; return the last."""
        for _ in range(count):
            self.now_s += 0.1
            stamp = T0 + round(self.now_s * 1e9)
            for modality in self.runtime.modalities:
                if modality.name in names:
                    sample = modality.example_sample(int(self.now_s * 10))
                    self.collector.add(modality.name, stamp, sample, self.now_s)
            perceived = self.perceiver.perceive(
                1,
                self.collector.observe(self.now_s),
                lambda name, stamp, *why: self.collector.drop(name, stamp, self.now_s, *why),
                lambda reference_ns: self.collector.observe(self.now_s, reference_ns),
            )
            assert perceived is not None
            self.perceiver.judge()
        return perceived
