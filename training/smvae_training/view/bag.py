"""What a bundle makes of a recording, as glances, by the node's own rules."""

from __future__ import annotations

from typing import Any

from smvae_core.view.glance import Latent, SensorGlance
from smvae_training.evaluate.bag.replay import BagReplay, Moment
from smvae_training.evaluate.bag.scores import Truth
from smvae_training.view.following import Following


class GlancesOfReplay:
    """Listens to a replay and shows every latent with what was recorded at its moment."""

    def __init__(self, replay: BagReplay, following: Following, chapter: str = "") -> None:
        """Prepare.

        Args:
            replay: Makes the latents.
            following: Takes the glances, in order.
            chapter: Name of the recording, where there are several.
        """
        self.moments = 0
        self._runtime, self._following, self._chapter = replay.runtime, following, chapter
        self._truth = Truth(replay.runtime.modalities, replay.perceiver)
        self._shown: dict[str, Any] = {}

    def on_sample(self, name: str, stamp_ns: int, value: Any, epoch: int) -> None:
        """Wait for the latent that it belongs to."""

    def on_moment(self, moment: Moment) -> None:
        """Show one latent."""
        held = moment.everything.samples
        new = {name for name, value in held.items() if self._shown.get(name) is not value}
        self._shown = dict(held)
        self.moments += 1
        observation, posterior = moment.perceived.observation, moment.perceived.posterior
        decoded = moment.perceived.novelty.decoded
        self._following.show(
            observation.reference_ns,
            recorded={
                name: pair[0] for name, pair in self._truth.of_moment(moment).items() if name in new
            },
            predicted={
                m.name: self._runtime.reconstruct(m.name, posterior.mean, decoded.get(m.name))
                for m in self._runtime.modalities
            },
            latent=Latent(
                mean=posterior.mean,
                variance=posterior.variance,
                kl=posterior.kl,
                novelty=moment.perceived.novelty.score,
            ),
            sensors={n: SensorGlance.of(s) for n, s in observation.status.items()},
            chapter=self._chapter,
        )
