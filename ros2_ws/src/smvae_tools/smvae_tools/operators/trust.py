"""Whether a latent may be acted on: the checks that every consumer of `latent` owes its robot.

In order: the model that speaks is the one that was asked for; the message is valid, in
distribution, new enough by its stamp and by its arrival; its epoch has settled. Nothing survives an
epoch: estimates before a time jump, a reset or a new model say nothing about those after it.

What it says of the targets comes on `estimates`, a message for each latent, matched by epoch and
sequence; or, of a model without targets, from a readout of the latent itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from smvae_msgs.msg import LatentState, ModalityStatus

from smvae_core.errors import ConfigError
from smvae_core.readout import Estimate

_STATUS = {
    LatentState.OUT_OF_DISTRIBUTION: "out of distribution",
    LatentState.NO_INPUT: "the node has no input",
    LatentState.ERROR: "the node reports an error",
}


#: Latents that wait for their estimates.
KEPT = 8


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long what is known stays true."""

    max_age_s: float = 0.3
    """Oldest stamp of a latent, by the node's clock; a stamp as far ahead is refused too."""
    max_silence_s: float = 0.5
    """Longest time since the last latent arrived, by the steady clock, also while /clock stands."""
    settle: int = 3
    """Latents of a new epoch that are only watched before one counts."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a positive number, got {value}")


class Source(Protocol):
    """What tells a latent's targets: a readout."""

    def apply(self, subset: Sequence[str], mean: Any, variance: Any) -> Mapping[str, Estimate]: ...


@dataclass(frozen=True)
class Verdict:
    """Estimates to act on, or the reason why there are none."""

    found: Mapping[str, Estimate] | None
    reason: str
    """Empty if there are estimates."""
    stamp_ns: int = 0
    """Of the latent whose estimates these are."""
    remembered: bool = False
    """Whether that latent rests on a sensor that is gone and remembered."""


class Trust:
    """Takes latents and model descriptions in, and answers whether there is something to act on."""

    def __init__(
        self,
        source: Source | None,
        sha256: str,
        patience: Patience,
        *,
        now_ns: Callable[[], int],
        steady_s: Callable[[], float],
    ) -> None:
        """Start without any latent.

        Args:
            source: Of the bundle; None = the node's estimates tell.
            sha256: Of the bundle's manifest, which the node reports in `model_info`.
            patience: Limits in time.
            now_ns: Clock of the stamps, ROS time.
            steady_s: Clock of arrivals.
        """
        self._source, self._sha256, self._patience = source, sha256, patience
        self._now_ns, self._steady_s = now_ns, steady_s
        self._info: Any = None
        self._latent: Any = None
        self._arrived_s = -math.inf
        self._seen = 0
        self._told: Any = None
        self._found: Mapping[str, Estimate] | None = None
        self._problem = ""
        self._waiting: deque[Any] = deque(maxlen=KEPT)
        self._early: Any = None
        self.worlds = 0
        """How often all that was known had to be forgotten: a new epoch or model."""

    def model(self, info: Any) -> None:
        """Take a ModelInfo: which model the node has loaded."""
        self._info = info
        self.worlds += 1
        self._forget()

    def latent(self, message: Any) -> None:
        """Take a LatentState."""
        before = self._latent
        silence_s = self._steady_s() - self._arrived_s
        moved_on = before is not None and self._moved_on(before, message)
        self.worlds += moved_on
        if (
            before is None
            or moved_on
            or silence_s > self._patience.max_silence_s  # a restarted node counts from 0 again
        ):
            self._forget()
        elif message.sequence <= before.sequence:
            return  # late: a newer one of this epoch has come
        self._latent, self._arrived_s = message, self._steady_s()
        self._seen += 1
        if problem := self._refusal(message):
            self._tell(message, None, problem)
        elif self._source is not None:
            self._read(self._source, message)
        elif self._early is not None and _identity(self._early) == _identity(message):
            self.estimates(self._early)
        else:
            self._waiting.append(message)

    def estimates(self, message: Any) -> None:
        """Take an Estimates, which may come before its latent."""
        self._early = message
        latents = [self._latent, *self._waiting] if self._latent is not None else []
        latent = next((v for v in latents if _identity(v) == _identity(message)), None)
        told = self._told
        if latent is None or latent is told or (told and latent.sequence < told.sequence):
            return
        try:
            self._tell(latent, {t.name: _estimate(t) for t in message.targets}, "")
        except ConfigError as err:
            self._tell(latent, None, str(err))

    def verdict(self) -> Verdict:
        """Return what may be acted on now."""
        if self._latent is None:
            return Verdict(None, "no latent yet")
        if problem := self._problem or self._time_problem():
            return Verdict(None, problem)
        if self._seen <= self._patience.settle:
            return Verdict(None, "a new epoch settles")
        states = {m.state for m in self._told.modalities} if self._told is not None else set()
        remembered = ModalityStatus.REMEMBERED in states
        return Verdict(self._found, "", _stamp_ns(self._told), remembered)

    def _forget(self) -> None:
        self._latent, self._seen = None, 0
        self._told, self._found, self._problem = None, None, ""
        self._waiting.clear()

    @staticmethod
    def _moved_on(before: Any, message: Any) -> bool:
        return bool(
            message.epoch != before.epoch or message.model_generation != before.model_generation
        )

    def _refusal(self, message: Any) -> str:
        """Return what is wrong with a latent whatever the time, or an empty string."""
        info = self._info
        if info is None:
            return "no model_info yet"
        if info.sha256 != self._sha256:
            return (
                f"the node runs bundle {info.sha256[:12]}, the bundle here is {self._sha256[:12]}: "
                "give both the same bundle"
            )
        if message.model_generation != info.generation:
            return "the latent is of another model than model_info"
        if message.status in _STATUS:
            return _STATUS[message.status]
        if not message.valid:
            return "the latent is not valid"
        if not (np.isfinite(message.mean).all() and np.isfinite(message.variance).all()):
            return "the latent is not finite"
        if not (np.asarray(message.variance) > 0.0).all():
            return "the latent's variance is not positive"
        return ""

    def _read(self, source: Source, message: Any) -> None:
        counted = (ModalityStatus.FUSED, ModalityStatus.REMEMBERED)
        rests_on = [m.name for m in message.modalities if m.state in counted]
        try:
            self._tell(message, source.apply(rests_on, message.mean, message.variance), "")
        except ConfigError as err:
            self._tell(message, None, str(err))

    def _tell(self, latent: Any, found: Mapping[str, Estimate] | None, problem: str) -> None:
        """Keep what a latent says, or why it says nothing."""
        self._told, self._found, self._problem = latent, found, problem

    def _time_problem(self) -> str:
        silence_s = self._steady_s() - self._arrived_s
        if silence_s > self._patience.max_silence_s:
            return f"no latent for {self._patience.max_silence_s} s"
        now_ns, patience = self._now_ns(), self._patience
        age_s = (now_ns - _stamp_ns(self._latent)) * 1e-9
        if age_s > patience.max_age_s:
            return f"the latent is older than {patience.max_age_s} s"
        if age_s < -patience.max_age_s:
            return "the latent is of the future: clocks differ"
        if self._told is None:
            return "no estimates of a latent yet"
        if (now_ns - _stamp_ns(self._told)) * 1e-9 > patience.max_age_s:
            return f"the newest estimates are older than {patience.max_age_s} s"
        return ""


def _identity(message: Any) -> tuple[int, int, int]:
    """Return which latent a LatentState is, or an Estimates is of."""
    return message.model_generation, message.epoch, message.sequence


def _estimate(message: Any) -> Estimate:
    """Return one target of an Estimates.

    Raises:
        ConfigError: If its numbers do not fit together.
    """
    value, covariance = np.asarray(message.mean), np.asarray(message.covariance)
    if covariance.size != value.size**2:
        raise ConfigError(
            f"estimates: '{message.name}' has {value.size} numbers and a covariance of "
            f"{covariance.size}, expected {value.size**2}"
        )
    covariance = covariance.reshape(value.size, value.size)
    std = np.sqrt(np.diagonal(covariance))
    return Estimate(value=value, std=std, covariance=covariance, reason=message.reason)


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)
