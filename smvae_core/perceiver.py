"""One latent from what is due: convert, embed what is new, drop what is bad, pool.

As the node's inference thread does it; used where there is no thread: a bag read offline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from smvae_core.conversions import ConversionError, ConversionOptions
from smvae_core.errors import SampleError, SMVAEError
from smvae_core.feed import Due, Feed
from smvae_core.fusion import Observation
from smvae_core.modality import Modality
from smvae_core.runtime import Posterior, Runtime

ToArray = Callable[[Modality, Any, ConversionOptions], NDArray[Any]]


class Unforeseen(SampleError):
    """A message whose conversion failed without saying why: a fault of ours, not to be hidden."""

    def __init__(self, modality: str, err: Exception) -> None:
        """Name the error, which is also the reason that is counted."""
        self.reason = f"unforeseen {type(err).__name__}"
        super().__init__(modality, "message", expected="a conversion or a reason", got=repr(err))


@dataclass(frozen=True, kw_only=True)
class Perceived:
    """One posterior and what it was made from."""

    due: Due
    observation: Observation
    """As taken, without the samples that turned out to be bad."""
    posterior: Posterior
    novelty: float
    """See `Runtime.novelty`; NaN where the bundle is not calibrated."""


class Perceiver:
    """Runs a model on what a feed says is due."""

    def __init__(
        self,
        runtime: Runtime,
        feed: Feed,
        to_array: Mapping[str, ToArray],
        options: Mapping[str, ConversionOptions],
    ) -> None:
        """Prepare.

        Args:
            runtime: Used by nobody else meanwhile.
            feed: Where samples come from; what is bad is dropped from it.
            to_array: Conversion of each modality, of its message type.
            options: Of each modality.
        """
        self._runtime, self._feed = runtime, feed
        self._to_array, self._options = dict(to_array), dict(options)
        self._embedded: dict[str, tuple[int, int]] = {}

    def perceive(self, due: Due) -> Perceived | None:
        """Return the latent of what is due; None when nothing of it can be used."""
        observation = due.observation
        while bad := self._embed(due.epoch, observation):
            for name, reason in bad.items():
                stamp = observation.status[name].stamp_ns
                self._feed.collector.drop(name, stamp, due.at_s, reason)
            observation = self._feed.collector.observe(due.at_s, observation.reference_ns)
        if not observation.samples:
            return None
        posterior = self._runtime.posterior(observation.subset)
        novelty = self._runtime.novelty(observation.subset, posterior)
        return Perceived(due=due, observation=observation, posterior=posterior, novelty=novelty)

    def sample(self, name: str, value: Any) -> NDArray[Any]:
        """Return what the collector holds of a modality as a raw sample in SI units.

        Raises:
            ConversionError: If the message is not what the modality declares.
            Unforeseen: If its conversion fails without saying why.
        """
        modality = self._runtime.modality(name)
        if modality.kind == "force_window":
            window: NDArray[Any] = value  # the collector made it of readings
            return window
        try:
            return self._to_array[name](modality, value, self._options[name])
        except SMVAEError:
            raise
        except Exception as err:  # no message may stop a replay, as none may stop the node
            raise Unforeseen(name, err) from err

    def _embed(self, epoch: int, observation: Observation) -> dict[str, str]:
        """Embed the fused samples that are new; return the reason for each that is bad."""
        bad = {}
        for name, value in observation.samples.items():
            key = (epoch, observation.status[name].stamp_ns)
            if self._embedded.get(name) == key:
                continue
            self._embedded.pop(name, None)
            try:
                self._runtime.observe(name, self.sample(name, value))
            except (ConversionError, SampleError) as err:
                bad[name] = getattr(err, "reason", "value")
            else:
                self._embedded[name] = key
        return bad
