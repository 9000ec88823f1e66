"""Who listens to a replay: scores every latent, keeps some moments, draws the video."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smvae_training.evaluate.bag.moments import Moments
from smvae_training.evaluate.bag.pictures import Strips, Video
from smvae_training.evaluate.bag.replay import Moment
from smvae_training.evaluate.bag.scores import Pair, Scores, Truth
from smvae_training.evaluate.measures import images


class Gatherer:
    """Gives each latent to everything that wants it, converted and decoded once."""

    def __init__(
        self,
        scores: Scores,
        moments: Moments,
        truth: Truth,
        *,
        begin_ns: int,
        video: Video | None = None,
        further: Callable[[Moment, Mapping[str, Pair]], Mapping[str, float]] | None = None,
    ) -> None:
        """Start empty.

        Args:
            scores: Takes every latent.
            moments: Keeps some.
            truth: Converts what the bag holds.
            begin_ns: Receive time of the bag's first message.
            video: Takes a picture of every latent.
            further: Gives other columns of a latent, from what the bag held of its moment.
        """
        self.scores, self.moments, self._truth = scores, moments, truth
        self._begin_ns, self._video, self._further = begin_ns, video, further
        self._strips = Strips(scores.modalities)
        self._images = {m.name for m in images(scores.modalities)}

    def on_sample(self, name: str, stamp_ns: int, value: Any, epoch: int) -> None:
        """Score the latents that wait for this image."""
        if name in self._images:
            self.scores.on_sample(name, stamp_ns, value, epoch)

    def on_moment(self, moment: Moment) -> None:
        """Decode a latent and compare it with what the bag held."""
        truths = self._truth.of_moment(moment)
        mean = moment.perceived.posterior.mean
        decoded = moment.perceived.novelty.decoded
        predicted = {
            m.name: self.scores.predict(m.name, mean, decoded.get(m.name))
            for m in self.scores.modalities
        }
        further = self._further(moment, truths) if self._further is not None else {}
        self.scores.add(moment, truths, predicted, further)
        self.moments.add(moment, truths, predicted)
        if self._video is not None:
            subset = moment.perceived.observation.subset
            images = {name: pair[1] for name, pair in truths.items()}
            seconds = (moment.received_ns - self._begin_ns) * 1e-9
            self._video.add(seconds, self._strips.draw(seconds, subset, images, predicted))
