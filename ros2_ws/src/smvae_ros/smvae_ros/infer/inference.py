"""The threads that turn what sensors say into latents."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smvae_core.fusion.engine import Taken
from smvae_core.fusion.rules import SuspicionRule
from smvae_core.fusion.source import Source
from smvae_core.perceiver import Perceived, Perceiver
from smvae_core.runtime import Runtime
from smvae_ros.infer.scoring import Scoring
from smvae_ros.infer.steps import Steps
from smvae_ros.listen.mailbox import Bell, Mailbox

#: One run may last so long [s], and not less than LONGEST_RUNS runs at the highest rate.
LONGEST_RUN_S = 2.0
LONGEST_RUNS = 10


@dataclass(frozen=True, kw_only=True)
class Result:
    """One posterior and where it comes from."""

    taken: Taken
    perceived: Perceived
    inference_s: float
    """Conversion, embedding, pooling and novelty, steady clock."""


class Inference:
    """Waits for triggers, embeds what changed, pools, and hands each result on.

    One thread listens to the sensors that cost little, and makes latents. Another one listens to
    images, and embeds each before a latent asks for it. So no reading waits for an image.
    """

    def __init__(
        self,
        runtime: Runtime,
        mailbox: Mailbox,
        deliver: Callable[[Result], None],
        reject: Callable[[str, str], None],
        *,
        images: Bell | None = None,
        scoring: Scoring | None = None,
        implausible: Callable[[str, str], None] | None = None,
    ) -> None:
        """Prepare; `start` runs the threads.

        Args:
            runtime: Used by these threads alone once started.
            mailbox: Where triggers and samples come from.
            deliver: Called with every result, in the thread that makes latents.
            reject: Called with modality and text when a message turns out to be bad.
            images: Its waiting is what the second thread does; None = there is none.
            scoring: Judges in a thread of its own; None = sensors are judged after each latent.
            implausible: Called with modality and what is odd about each new sample, '' = nothing.
        """
        self._mailbox = mailbox
        self._deliver = deliver
        renewed = None if scoring is None else scoring.renewed
        self.perceiver = Perceiver(runtime, rejected=reject, judged=implausible, renewed=renewed)
        self.latents = Steps("inference", self._make_latent, wake=mailbox.close)
        self._scoring = scoring
        self._all = (self.latents,) if scoring is None else (self.latents, scoring.steps)
        self.embeddings: Steps | None = None
        if images is not None:
            self.embeddings = Steps("embedding", lambda: images.wait(0.5), wake=images.ring)
            self._all = (*self._all, self.embeddings)
        self.max_rate_hz = 100.0

    def configure(
        self,
        sources: Mapping[str, Source],
        max_rate_hz: float,
        memory_s: float = 0.0,
        ahead_s: float = 0.0,
        suspicion: SuspicionRule | None = None,
    ) -> None:
        """Apply parameters, also while running.

        Args:
            sources: How the messages of each modality are read.
            max_rate_hz: At most so many latents per second; a run may last as long as ten of them.
            memory_s: How far back samples count, where the bundle has a memory; 0 = none does.
            ahead_s: How long after a moment its latent answers for.
            suspicion: How sensors are judged, see `Perceiver.configure`.
        """
        self.perceiver.configure(sources, memory_s, ahead_s, suspicion)
        self.max_rate_hz = max_rate_hz

    @property
    def alive(self) -> bool:
        """Whether one of the threads runs."""
        return any(steps.alive for steps in self._all)

    @property
    def failure(self) -> str:
        """Why no more latents will come, as last found by `check`; '' = they will."""
        return next((steps.failure for steps in self._all if steps.failure), "")

    @property
    def longest_run_s(self) -> float:
        """A run that lasts longer will not end, as far as a robot is concerned."""
        return max(LONGEST_RUN_S, LONGEST_RUNS / self.max_rate_hz)

    def check(self) -> str:
        """Return why no more latents will come, '' = they will; called again and again."""
        return next(filter(None, [steps.check(self.longest_run_s) for steps in self._all]), "")

    def start(self) -> None:
        """Start the threads with an empty cache."""
        self.perceiver.forget()
        self._mailbox.open()
        for steps in self._all:
            steps.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Stop and join, at once where one hangs; return whether they ended in time.

        One that ends later publishes nothing any more.
        """
        for steps in self._all:
            steps.tell_to_stop()
        ended = [steps.join(timeout_s) for steps in self._all]  # each is joined
        return all(ended)

    def embed_ahead(self, name: str, message: Any) -> None:
        """Embed a message that a latent will ask for; in the thread of images."""
        if self.embeddings is not None and self._mailbox.each_counts(name):
            with self.embeddings.work():
                self.perceiver.embed_ahead(name, message)

    def _make_latent(self) -> None:
        taken = self._mailbox.take(0.5)
        if taken is not None and not self.latents.stopping:
            with self.latents.work() as began_s:
                self._infer(taken, began_s)

    def _infer(self, taken: Taken, started_s: float) -> None:
        perceived = self.perceiver.perceive(
            taken.epoch, taken.observation, self._mailbox.drop, self._mailbox.observe
        )
        late = self.latents.stopping or taken.epoch != self._mailbox.epoch
        if perceived is None or late:
            return
        spent_s = time.monotonic() - started_s
        self._deliver(Result(taken=taken, perceived=perceived, inference_s=spent_s))
        if self._scoring is None:
            self.perceiver.judge()  # no latent waits for it
        else:
            self._scoring.judge(self.perceiver)
