"""The thread that judges beside those that make latents: their novelty, and which sensor is odd."""

from __future__ import annotations

import threading

from smvae_core.novelty.renewed import Asked, RenewedNovelty
from smvae_core.novelty.scorer import NoveltyScorer
from smvae_core.perceiver import Judgement, Perceived, Perceiver
from smvae_core.runtime import Runtime, Snapshot
from smvae_ros.infer.steps import Steps


class Scoring:
    """Scores some latents at once and some in a thread of its own; see `renewed_novelty`."""

    def __init__(self, runtime: Runtime) -> None:
        """Prepare; `steps` is the thread, without which every latent gets its own score."""
        self._runtime = runtime
        self.renewed = RenewedNovelty()
        self._scorer = NoveltyScorer()
        self._asked = threading.Event()
        self._job: tuple[Asked, Snapshot] | None = None
        self._judgement: tuple[Judgement, Snapshot] | None = None
        self.steps = Steps("novelty", self._score, wake=self._asked.set)

    def go_on(self, perceived: Perceived) -> None:
        """Have a moment scored for those after it where it is time; in the thread of latents."""
        stamp_ns = perceived.observation.reference_ns
        if self._job is None and self.renewed.due(stamp_ns):
            asked = perceived.score.asked._replace(stamp_ns=stamp_ns)
            self._job = asked, self._runtime.snapshot(self._scorer)
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
                self.renewed.renew(*self._job)
            self._job = None
        if self._judgement is not None:
            judgement, snapshot = self._judgement
            with self.steps.work():
                judgement(snapshot)
            self._judgement = None
