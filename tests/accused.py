"""A bundle whose scales make the others speak against some sensors, whatever they send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from smvae_core.bundle import Bundle, write_bundle
from smvae_core.novelty import Tail
from smvae_core.suspicion import EVIDENCE, MISFIT, Suspicion, given, scale_key

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
