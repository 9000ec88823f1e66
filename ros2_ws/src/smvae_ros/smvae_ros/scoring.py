"""The thread that judges beside those that make latents: their novelty, and which sensor is odd."""

from __future__ import annotations

import threading

from smvae_core.novelty_scorer import NoveltyScorer
from smvae_core.perceiver import Judgement, Perceived, Perceiver, novelty_of
from smvae_core.renewed_novelty import RenewedNovelty, Score
from smvae_core.runtime import Runtime, Snapshot
from smvae_ros.steps import Steps


class Scoring:
    """Scores some latents at once and some in a thread of its own; see `renewed_novelty`."""

    def __init__(self, runtime: Runtime) -> None:
        """Prepare; `steps` is the thread, without which every latent gets its own score."""
        self._runtime = runtime
        self._renewed = RenewedNovelty()
        self._scorer = NoveltyScorer()
        self._asked = threading.Event()
        self._job: tuple[int, Perceived, Snapshot] | None = None
        self._judgement: tuple[Judgement, Snapshot] | None = None
        self.steps = Steps("novelty", self._score, wake=self._asked.set)

    def of(self, epoch: int, perceived: Perceived) -> Score:
        """Return the score that a latent carries; in the thread that made it, right after."""
        found = self._renewed.of(epoch, perceived)
        if found is None:
            found = self._renewed.keep(epoch, perceived, novelty_of(self._runtime, perceived))
        return found

    def go_on(self, epoch: int, perceived: Perceived) -> None:
        """Have a latent scored for those after it where it is time; in the same thread, later."""
        if self._job is None and self._renewed.due(perceived):
            self._job = epoch, perceived, self._runtime.snapshot(self._scorer)
            self._asked.set()

    def judge(self, perceiver: Perceiver) -> None:
        """Have sensors judged by the latent just made; in the same thread, after that is out."""
        if self._judgement is None and (judgement := perceiver.judgement()) is not None:
            self._judgement = judgement, self._runtime.snapshot(self._scorer)
            self._asked.set()

    def _score(self) -> None:
        self._asked.wait(0.5)
        self._asked.clear()
        if self._job is not None:
            with self.steps.work():
                self._renewed.renew(*self._job)
            self._job = None
        if self._judgement is not None:
            judgement, snapshot = self._judgement
            with self.steps.work():
                judgement(snapshot)
            self._judgement = None
