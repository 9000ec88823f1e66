"""One moment as a person is shown it, whatever it comes from: a bag, a data set, a live node.

Z latent, K numbers of a target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.fusion.rules import FusionState, ModalityStatus


@dataclass(frozen=True, kw_only=True)
class SensorGlance:
    """What is known of one sensor at the moment."""

    state: FusionState
    age_s: float = math.nan
    """Of its newest sample against the reference time; NaN = there is none."""
    reason: str = ""
    """Why it is not fused."""

    @classmethod
    def of(cls, status: ModalityStatus) -> SensorGlance:
        """Return what the engine says of a sensor."""
        return cls(state=status.state, age_s=status.age_s, reason=status.reason)


@dataclass(frozen=True, kw_only=True)
class Latent:
    """The posterior's marginals."""

    mean: NDArray[np.float32]
    """(Z,)"""
    variance: NDArray[np.float32]
    """(Z,)"""
    kl: float
    """From the prior, in nats."""
    novelty: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What there is to see at one reference time; what is not known is not in it."""

    stamp_ns: int
    recorded: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Sensor -> raw sample that it gave."""
    predicted: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Sensor -> what the latent predicts of it, in the raw sample's layout."""
    latent: Latent | None = None
    sensors: Mapping[str, SensorGlance] = field(default_factory=dict)
    targets: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Name -> (K,) recorded beside the sensors."""
    chapter: str = ""
    """Episode that the moment belongs to."""


@dataclass(frozen=True, kw_only=True)
class TargetNames:
    """How a recorded target is labelled."""

    fields: tuple[str, ...]
    unit: str
