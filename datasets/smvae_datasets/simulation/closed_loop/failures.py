"""What happens to the sensors of an attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = dict[str, NDArray[Any]]
#: Changes one sample with random numbers of the attempt.
Change = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
#: Age of a late sample, in steps of 50 ms.
LATE_STEPS = 4


def _noisy(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Add noise of a fifth of the range of values to a colour image."""
    noise = rng.normal(0.0, 50.0, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255).astype(image.dtype))


def _half_covered(image: NDArray[Any], _: np.random.Generator) -> NDArray[Any]:
    """Cover the left half of the lens."""
    covered = image.copy()
    covered[:, : image.shape[1] // 2] = 0
    return covered


def _dark(image: NDArray[Any], _: np.random.Generator) -> NDArray[Any]:
    """Expose for a quarter of the time."""
    return np.asarray((image * 0.25).astype(image.dtype))


def _noisy_depth(depth_m: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Add noise of 2 cm to the pixels of a depth image that are not empty."""
    noise = rng.normal(0.0, 0.02, depth_m.shape)
    return np.asarray(np.where(depth_m > 0.0, np.clip(depth_m + noise, 0.001, None), 0.0)).astype(
        depth_m.dtype
    )


def _too_near(depth_m: NDArray[Any], _: np.random.Generator) -> NDArray[Any]:
    """Measure half of the distance."""
    return np.asarray((0.5 * depth_m).astype(depth_m.dtype))


def _biased(window: NDArray[Any], _: np.random.Generator) -> NDArray[Any]:
    """Add 10 N to all three forces."""
    return np.asarray(window + np.repeat([10.0, 0.0], 3))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is wrong with some sensors; the rest is alive."""

    sensors: tuple[str, ...] = ()
    absent: bool = False
    """They deliver nothing."""
    frozen: bool = False
    """They repeat their last good sample."""
    late: bool = False
    """They deliver samples of 200 ms ago, stamped as if of now."""
    change: Change | None = None
    """What else becomes of each sample."""
    midway: bool = False
    """From half of the way to the hole on, before the touch; else from the start."""


#: Deciding failures, then the rest. By name.
DECIDING: Mapping[str, Failure] = {
    "all alive": Failure(),
    "rgb lost": Failure(sensors=("rgb",), absent=True),
    "depth lost": Failure(sensors=("depth",), absent=True),
    "force lost": Failure(sensors=("force",), absent=True),
    "action lost": Failure(sensors=("action",), absent=True),
    "cameras lost midway": Failure(sensors=("rgb", "depth"), absent=True, midway=True),
    "rgb frozen midway": Failure(sensors=("rgb",), frozen=True, midway=True),
}
OTHERS: Mapping[str, Failure] = {
    "rgb lost midway": Failure(sensors=("rgb",), absent=True, midway=True),
    "depth lost midway": Failure(sensors=("depth",), absent=True, midway=True),
    "force lost midway": Failure(sensors=("force",), absent=True, midway=True),
    "cameras lost": Failure(sensors=("rgb", "depth"), absent=True),
    "rgb late 200 ms": Failure(sensors=("rgb",), late=True),
    "rgb noisy": Failure(sensors=("rgb",), change=_noisy),
    "force biased 10 N": Failure(sensors=("force",), change=_biased),
    "lens half covered": Failure(sensors=("rgb",), change=_half_covered),
    "exposed for a quarter": Failure(sensors=("rgb",), change=_dark),
    "depth frozen midway": Failure(sensors=("depth",), frozen=True, midway=True),
    "depth noisy": Failure(sensors=("depth",), change=_noisy_depth),
    "depth half covered": Failure(sensors=("depth",), change=_half_covered),
    "depth halved": Failure(sensors=("depth",), change=_too_near),
}
#: The rest of the sets of four sensors of which some deliver nothing from the start.
FEWER: Mapping[str, Failure] = {
    " and ".join(lost) + " lost": Failure(sensors=lost, absent=True)
    for lost in (
        ("rgb", "force"),
        ("rgb", "action"),
        ("depth", "force"),
        ("depth", "action"),
        ("force", "action"),
        ("depth", "force", "action"),
        ("rgb", "force", "action"),
        ("rgb", "depth", "action"),
        ("rgb", "depth", "force"),
    )
}
FAILURES: Mapping[str, Failure] = {**DECIDING, **OTHERS, **FEWER}


@dataclass
class FailingSensors:
    """Passes an attempt's samples on, or what a failure leaves of them."""

    failure: Failure
    rng: np.random.Generator
    begun: bool = False
    """Whether something is wrong by now."""
    _before: list[Samples] = field(default_factory=list)

    def deliver(self, samples: Samples, midway: bool) -> Samples:
        """Return what is delivered in place of these samples.

        Args:
            samples: By sensor, of this step.
            midway: Whether half of the way to the hole is behind the tip.
        """
        failure = self.failure
        self.begun = self.begun or (bool(failure.sensors) and (midway or not failure.midway))
        if not (self.begun and failure.frozen):
            self._before = [*self._before[-LATE_STEPS:], samples]
        delivered = dict(samples)
        if not self.begun:
            return delivered
        for name in failure.sensors:
            if failure.absent:
                del delivered[name]
            elif failure.frozen:
                delivered[name] = self._before[-1][name]
            elif failure.late:
                delivered[name] = self._before[0][name]
            elif failure.change is not None:
                delivered[name] = failure.change(samples[name], self.rng)
        return delivered

    @property
    def watched(self) -> bool:
        """Whether a camera may still deliver something new."""
        gone = self.begun and self.failure.absent
        return not (gone and {"rgb", "depth"} <= set(self.failure.sensors))
