"""Novelty of latents that come faster than a score is worth making for each, and who is left out.

A score costs a run of each sensor's decoder: of images, many times what a latent after a new
reading costs. So of latents that follow each other closely, one in `RENEWED_S` is scored in another
thread, and those after it carry that score, with the stamp of the latent that it is of. Who is left
out of a novel set goes with its score. When to score is said here; the threads are the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from smvae_core.novelty.odd_ones_out import Networks, Rest, Scored, rest, scored
from smvae_core.novelty.scorer import NoveltyReport

#: A score is renewed so often [s].
RENEWED_S = 0.03
#: No latent carries a score that is older than this [s].
OLDEST_S = 0.1


class Asked(NamedTuple):
    """A moment that is scored."""

    epoch: int
    stamp_ns: int
    """Its reference time."""
    subset: tuple[str, ...]
    """Its sensors, before any is left out."""
    memory: bool
    """Whether its latent remembers."""
    leave_out: bool
    """Whether the odd ones out are looked for."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A novelty, and the moment that it is of."""

    asked: Asked
    report: NoveltyReport
    """Of the set that is left."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why, by sensor that is not in it."""
    either: dict[str, str] = field(default_factory=dict)
    """See `odd_ones_out.Rest`."""

    @property
    def stamp_ns(self) -> int:
        return self.asked.stamp_ns

    def fits(self, asked: Asked) -> bool:
        """Return whether another moment may carry it: of the same sensors, not long after."""
        age_s = (asked.stamp_ns - self.stamp_ns) * 1e-9
        return asked._replace(stamp_ns=self.stamp_ns) == self.asked and 0.0 <= age_s <= OLDEST_S


def judge(networks: Networks, asked: Asked, before: Sequence[str] = ()) -> tuple[Score, Scored]:
    """Return a moment's own score, and the set that it is of.

    Args:
        networks: The runtime before it observes anything else, or a snapshot of it.
        asked: The moment.
        before: Who was left out before.
    """
    whole = scored(networks, asked.subset)
    found = rest(networks, whole, before) if asked.leave_out else Rest(scored=whole)
    report = found.scored.report
    score = Score(asked=asked, report=report, left_out=found.left_out, either=found.either)
    return score, found.scored


class RenewedNovelty:
    """The newest score, and whether it is time for another; used by the thread of latents.

    `renew` alone runs in another one.
    """

    def __init__(self) -> None:
        """Start without a score."""
        self._newest: Score | None = None
        self._last_ns = self._asked_ns = 0

    def of(self, asked: Asked) -> Score | None:
        """Return the score that a moment carries; None = it needs one of its own.

        That is one that comes long after the one before, and one for which no score fits.
        """
        since_ns, self._last_ns = asked.stamp_ns - self._last_ns, asked.stamp_ns
        newest = self._newest
        if newest is None or not 0 <= since_ns < RENEWED_S * 1e9:
            return None
        return newest if newest.fits(asked) else None

    def keep(self, score: Score) -> None:
        """Keep a moment's own score for those after it."""
        # what was decoded of one latent is no other's
        self._newest = replace(score, report=replace(score.report, decoded={}))
        self._asked_ns = max(self._asked_ns, score.stamp_ns)

    def due(self, stamp_ns: int) -> bool:
        """Return whether a moment that carries another's score is to be scored for those after."""
        if 0.0 <= (stamp_ns - self._asked_ns) * 1e-9 < RENEWED_S:
            return False
        self._asked_ns = stamp_ns
        return True

    def renew(self, asked: Asked, networks: Networks) -> None:
        """Score a moment by what was observed when its latent was made."""
        newest = self._newest
        score, _ = judge(networks, asked, tuple(newest.left_out) if newest is not None else ())
        self.keep(score)
