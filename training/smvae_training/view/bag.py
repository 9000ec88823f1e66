"""What a bundle makes of a recorded bag, as glances, by the node's own rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smvae_core.view.glance import Glance, Latent, SensorGlance
from smvae_training.evaluate.bag.replay import BagReplay, Moment
from smvae_training.evaluate.bag.scores import Truth


class GlancesOfBag:
    """Listens to a replay and shows every latent with what the bag held at its moment."""

    def __init__(self, replay: BagReplay, show: Callable[[Glance], None]) -> None:
        """Prepare.

        Args:
            replay: Makes the latents.
            show: Takes the glances, in order.
        """
        self._runtime, self._show = replay.runtime, show
        self._truth = Truth(replay.runtime.modalities, replay.perceiver)
        self._shown: dict[str, Any] = {}

    def on_sample(self, name: str, stamp_ns: int, value: Any, epoch: int) -> None:
        """Wait for the latent that it belongs to."""

    def on_moment(self, moment: Moment) -> None:
        """Show one latent."""
        held = moment.everything.samples
        new = {name for name, value in held.items() if self._shown.get(name) is not value}
        self._shown = dict(held)
        observation, posterior = moment.perceived.observation, moment.perceived.posterior
        decoded = moment.novelty.decoded
        self._show(
            Glance(
                stamp_ns=observation.reference_ns,
                recorded={
                    name: pair[0]
                    for name, pair in self._truth.of_moment(moment).items()
                    if name in new
                },
                predicted={
                    m.name: self._runtime.reconstruct(m.name, posterior.mean, decoded.get(m.name))
                    for m in self._runtime.modalities
                },
                latent=Latent(
                    mean=posterior.mean,
                    variance=posterior.variance,
                    kl=posterior.kl,
                    novelty=moment.novelty.score,
                ),
                sensors={
                    name: SensorGlance(state=s.state, age_s=s.age_s, reason=s.reason)
                    for name, s in observation.status.items()
                },
            )
        )
