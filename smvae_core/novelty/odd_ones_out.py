"""Which sensors a moment is better without: those without which its set is novel no more.

Novelty says that a set is not to be acted on, not who is to blame. So where a set is novel, and
only there, it is scored again without each of its sensors. If one of those sets alone is not novel,
the sensor that it lacks is the odd one out, and the rest says what it would if that sensor were
lost. If several are not, such as two cameras that contradict each other, the one is taken whose
lack makes the set ordinary (below `warn`) where the lack of no other does; else nobody is. If none
is, a further sensor is taken away from the best of them, as long as most stay: a world that is
novel to most sensors is no fault of a few.

Costs a posterior and a novelty for each set that is scored; while the same sensors stay left out,
one set. Measured: docs/decisions/suspects.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from smvae_core.bundle import Manifest
from smvae_core.novelty.scorer import NoveltyReport
from smvae_core.runtime import Posterior

#: Of a set with more sensors only so many are tried, the most surprising first.
TRIED = 6
#: From so many sensors on two may be left out, never more.
TWO_FROM = 5


class Networks(Protocol):
    """What is asked of a runtime, or of a snapshot."""

    @property
    def manifest(self) -> Manifest: ...

    def posteriors(self, subsets: Sequence[Sequence[str]]) -> Sequence[Posterior]: ...

    def novelty_report(self, subset: Sequence[str], posterior: Posterior) -> NoveltyReport: ...


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A set of a moment's sensors, and what it says."""

    subset: tuple[str, ...]
    posterior: Posterior
    report: NoveltyReport


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What a moment rests on."""

    scored: Scored
    """All that was given, where nothing is left out."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why, by sensor."""
    either: dict[str, str] = field(default_factory=dict)
    """What to say of sensors any one of which may be wrong, so that none is left out."""


def scored(networks: Networks, subset: Sequence[str]) -> Scored:
    """Return a set's posterior, and its novelty: infinite where the posterior is no number."""
    (posterior,) = networks.posteriors((subset,))
    if posterior.finite or networks.manifest.novelty is None:
        report = networks.novelty_report(subset, posterior)
    else:
        report = NoveltyReport(score=np.inf, surprises={}, nll={})
    return Scored(subset=tuple(subset), posterior=posterior, report=report)


def rest(networks: Networks, whole: Scored, before: Sequence[str] = ()) -> Rest:
    """Return what is left of a moment without the odd ones out; see the module.

    Args:
        networks: A runtime, or a snapshot of it.
        whole: All sensors that the moment has, not empty.
        before: Who was left out of the moment before, and is tried first.
    """
    novelty = networks.manifest.novelty
    if novelty is None or not whole.report.score > novelty.error or len(whole.subset) < 2:
        return Rest(scored=whole)
    if before and set(before) < set(whole.subset):
        again = _without(networks, whole, before)
        if again.report.score <= novelty.error:
            return _leave(whole, again)
    base = whole
    for _ in range(2 if len(whole.subset) >= TWO_FROM else 1):
        tried = [_without(networks, base, (name,)) for name in _blamed(base)]
        for limit in (novelty.error, novelty.warn):
            good = [each for each in tried if each.report.score <= limit]
            if len(good) == 1:
                return _leave(whole, good[0])
            if not good:
                break
        if any(each.report.score <= novelty.error for each in tried):
            return _either(whole, [e for e in tried if e.report.score <= novelty.error])
        base = min(tried, key=lambda each: each.report.score)
    return Rest(scored=whole)


def _without(networks: Networks, whole: Scored, names: Sequence[str]) -> Scored:
    return scored(networks, tuple(n for n in whole.subset if n not in names))


def _leave(whole: Scored, found: Scored) -> Rest:
    """Return the rest of a moment, and why it is that."""
    out = tuple(n for n in whole.subset if n not in found.subset)
    reason = f"suspect: {_novel(whole, out)}; left out (leave_out_suspects)"
    return Rest(scored=found, left_out=dict.fromkeys(out, reason))


def _blamed(scored: Scored) -> list[str]:
    """Return the sensors of a set that may be left out, the most surprising first."""
    worst = dict.fromkeys(scored.subset, -np.inf)
    for key, surprise in scored.report.surprises.items():
        name = key.rpartition("/")[2]
        worst[name] = max(worst[name], surprise)
    return sorted(scored.subset, key=lambda name: -worst[name])[:TRIED]


def _either(whole: Scored, good: Sequence[Scored]) -> Rest:
    """Return a moment of which one sensor or another is wrong."""
    names = [n for n in whole.subset if any(n not in each.subset for each in good)]
    reason = f"{_novel(whole, names, ' or ')}; which is wrong cannot be told"
    return Rest(scored=whole, either=dict.fromkeys(names, reason))


def _novel(whole: Scored, names: Sequence[str], word: str = " and ") -> str:
    """Return what a set is without some sensors, in words that do not change with every number."""
    worst = whole.report.worst.partition("/")[2] or "no finite latent"
    return f"the set is novel ({worst}), without {word.join(names)} it is not"
