"""Novelty of latents that come faster than a score is worth making for each.

A score costs a run of each sensor's decoder: of images, many times what a latent after a new
reading costs. So of latents that follow each other closely, one in `RENEWED_S` is scored in another
thread, and those after it carry that score, with the stamp of the latent that it is of. When to
score is said here; the threads are the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from smvae_core.novelty_scorer import NoveltyReport
from smvae_core.perceiver import Perceived, novelty_of
from smvae_core.runtime import Snapshot

#: A score is renewed so often [s].
RENEWED_S = 0.03
#: No latent carries a score that is older than this [s].
OLDEST_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Score:
    """A novelty, and the latent that it is of."""

    report: NoveltyReport
    stamp_ns: int
    """Reference time of that latent."""
    epoch: int
    subset: tuple[str, ...]
    """Modalities that it was made from."""
    memory: bool
    """Whether it remembered."""

    def fits(self, epoch: int, perceived: Perceived) -> bool:
        """Return whether another latent may carry it: of the same sensors, not long after."""
        age_s = (perceived.observation.reference_ns - self.stamp_ns) * 1e-9
        same = self.epoch == epoch and self.subset == perceived.observation.subset
        return same and self.memory == bool(perceived.memory_s) and 0.0 <= age_s <= OLDEST_S


class RenewedNovelty:
    """The newest score, and whether it is time for another; used by the thread of latents.

    `renew` alone runs in another one.
    """

    def __init__(self) -> None:
        """Start without a score."""
        self._newest: Score | None = None
        self._last_ns = self._asked_ns = 0

    def of(self, epoch: int, perceived: Perceived) -> Score | None:
        """Return the score that a latent carries; None = it needs one of its own.

        That is one that comes long after the one before, and one for which no score fits.
        """
        stamp_ns = perceived.observation.reference_ns
        since_ns, self._last_ns = stamp_ns - self._last_ns, stamp_ns
        newest = self._newest
        if newest is None or not 0 <= since_ns < RENEWED_S * 1e9:
            return None
        return newest if newest.fits(epoch, perceived) else None

    def keep(self, epoch: int, perceived: Perceived, report: NoveltyReport) -> Score:
        """Return and keep a latent's own score."""
        observation = perceived.observation
        score = Score(
            report=report,
            stamp_ns=observation.reference_ns,
            epoch=epoch,
            subset=observation.subset,
            memory=bool(perceived.memory_s),
        )
        # what was decoded of one latent is no other's
        self._newest = replace(score, report=replace(report, decoded={}))
        self._asked_ns = max(self._asked_ns, observation.reference_ns)
        return score

    def due(self, perceived: Perceived) -> bool:
        """Return whether a latent that carries another's score is to be scored for those after."""
        since_s = (perceived.observation.reference_ns - self._asked_ns) * 1e-9
        if 0.0 <= since_s < RENEWED_S:
            return False
        self._asked_ns = perceived.observation.reference_ns
        return True

    def renew(self, epoch: int, perceived: Perceived, snapshot: Snapshot) -> None:
        """Score a latent by what was observed when it was made."""
        self.keep(epoch, perceived, novelty_of(snapshot, perceived))
