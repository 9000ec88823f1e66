"""Suspicion: which sensor the others speak against, on scales from held-out data.

Two statistics of a sensor m, given a set O of others, from decoder m at the posterior mean of O:

- `misfit`: log error of that prediction of m's sample, the negative log likelihood but for its
  scale (`novelty.reconstruction`). Finds what the others would not have foretold: a covered lens,
  a biased force.
- `stillness`: log of how much that prediction changed since `LAG_S` before, over how much the
  sample did. Finds a frozen camera while the arm moves. It accuses one side only: where depth is
  frozen and colour is not, colour changes more than depth foretells, never less. Of kinds whose
  live samples are never quite the same (images, windows); a command may well repeat itself.

Each becomes a surprise, -log10 of the share of held-out samples at or above it. A sensor that
contradicts a faulty one has a high misfit too, so m is blamed for no more than is left when any one
of the others is excused: its surprise is the least over O and all sets that lack one more
(`blamed`). Of stillness those sets need only support what O says, since a blank sensor makes
predictions jump. With one other sensor nothing is left, and nobody is named.

One moment proves nothing, so surprises, each cut at a cap, are averaged over a span: `FAST` asks
for what is very rare and waits a second, `SLOW` for what is no more than unusual, without a
break, `MIDDLE` for what lies between; an image is not judged by `SLOW`. Their limits lie halfway
between the most that held-out data reached and certainty, and at `LEAST_LIMIT` at least. Measured:
docs/decisions/suspects.md.

N samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smvae_core.errors import ConfigError
from smvae_core.modality import subset_name
from smvae_core.novelty.scale import MovedTail, Tail, Values
from smvae_core.presence import features

MISFIT, STILLNESS = "misfit", "stillness"
#: A sample is compared with the one so long before [s], or up to `LONGEST_LAG_S`.
LAG_S, LONGEST_LAG_S = 0.35, 1.0
#: Mean squared change, in normalised units, that counts as none: a live 8-bit camera at rest
#: changes by ten times as much.
NO_CHANGE = 1e-6
#: No tail of stillness falls faster than by a factor e for so much of it.
NARROWEST_STILLNESS = 0.4
#: Below this surprise given all others nobody asks who else may be to blame.
QUIET = 0.5
#: Given all others but one, stillness counts so many times: a surprise of 1 supports one of 3.
SUPPORT = 3.0
#: Evidence is 1 where all surprises of a span reach the cap. A limit is never lower than this.
LEAST_LIMIT = 0.85
#: Fewest samples that a span holds; with rarer ones it reaches further back.
LEAST_SAMPLES = 4
#: Samples further apart [s] are of two spans.
LONGEST_GAP_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What is averaged for how long."""

    cap: float
    """Surprises count up to this one."""
    span_s: float


FAST, MIDDLE = Pace(cap=3.0, span_s=1.0), Pace(cap=2.0, span_s=1.8)
SLOW = Pace(cap=1.0, span_s=5.0)
#: Evidence by name: the statistic, and how it is averaged.
EVIDENCE = {
    f"{MISFIT}/fast": (MISFIT, FAST),
    f"{MISFIT}/middle": (MISFIT, MIDDLE),
    f"{MISFIT}/slow": (MISFIT, SLOW),
    f"{STILLNESS}/fast": (STILLNESS, FAST),
}


class Span:
    """The mean of capped surprises over the last seconds, from 0 to 1."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._kept: deque[tuple[float, float]] = deque()

    def add(self, at_s: float, surprise: float) -> None:
        """Add the surprise of a sample that is later than the one before."""
        if self._kept and at_s - self._kept[-1][0] > LONGEST_GAP_S:
            self._kept.clear()
        self._kept.append((at_s, min(surprise, self._pace.cap)))
        begin_s = at_s - 0.99 * self._pace.span_s
        while len(self._kept) > LEAST_SAMPLES and self._kept[0][0] < begin_s:
            self._kept.popleft()

    @property
    def evidence(self) -> float:
        """Mean over the span by the cap; NaN until samples cover it."""
        kept = self._kept
        if len(kept) < LEAST_SAMPLES or kept[-1][0] - kept[0][0] < 0.74 * self._pace.span_s:
            return np.nan
        return sum(s for _, s in kept) / (len(kept) * self._pace.cap)


def stillness(foretold: ArrayLike, own: ArrayLike) -> Values:
    """Return the log of the change (N,) that others foretell of a sensor over its own.

    Args:
        foretold: Mean squared change of the predictions (N,), in normalised units.
        own: The same of the samples.
    """
    return np.asarray(
        np.log(np.asarray(foretold) + NO_CHANGE) - np.log(np.asarray(own) + NO_CHANGE), np.float64
    )


def change(x: NDArray[Any], before: NDArray[Any]) -> Values:
    """Return the mean squared change (N,) of samples or predictions (N, *shape)."""
    return np.asarray(np.square(x - before, dtype=np.float64).reshape(len(x), -1).mean(axis=1))


def blamed(statistic: str, given_all: float, given_fewer: Iterable[float]) -> float:
    """Return the surprise that is left of a sensor when any one of the others is excused.

    Args:
        statistic: Whose surprises these are.
        given_all: Given all others.
        given_fewer: Given all others but one, for each of them; made when asked for.
    """
    if not given_all > QUIET:  # also where it was not calibrated
        return given_all
    weight = SUPPORT if statistic == STILLNESS else 1.0
    least, excused = given_all, 0
    for each in given_fewer:
        excused += 1
        least = min(least, weight * each)
        if least <= QUIET:
            break
    return least if excused else 0.0


def excusing(others: Sequence[str]) -> list[tuple[str, ...]]:
    """Return a set of others without each one of them in turn; none of a set of one."""
    if len(others) < 2:
        return []
    return [tuple(n for n in others if n != excused) for excused in others]


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """What the manifest holds: scales of the statistics, limits of the evidence."""

    names: tuple[str, ...]
    """Of all sensors, in declared order."""
    scales: Mapping[str, Tail] = field(default_factory=dict)
    """By `scale_key`: statistic, sensor and set of others."""
    any_others: Mapping[str, MovedTail] = field(default_factory=dict)
    """By statistic and sensor, of sets of others that have no scale of their own: a function of
    which are present."""
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """From where on a sensor is suspect, by `given` and evidence; of sets of others that are not
    there, the highest of the sensor."""
    contradiction: float = 1.0
    """From this evidence on, of misfit given all others, nobody excused, a sensor is said to
    contradict them."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """How calibrated: records, trajectories, the most evidence that they reached."""

    def __post_init__(self) -> None:
        for label, limits in self.limits.items():
            if not set(limits) <= set(EVIDENCE):
                raise ConfigError(f"suspicion: limits of {label} name what there is not: {limits}")
            if not all(0.0 < limit <= 1.0 for limit in limits.values()):
                raise ConfigError(f"suspicion: limits of {label} must lie in (0, 1]: {limits}")

    def limits_of(self, sensor: str, others: Sequence[str]) -> dict[str, float]:
        """Return the limit of each evidence; none of what was not calibrated."""
        own = self.limits.get(given(sensor, others))
        if own is not None:
            return dict(own)
        found: dict[str, float] = {}
        for label, limits in self.limits.items():
            if label.partition(" ")[0] == sensor:
                found |= {k: max(v, found.get(k, 0.0)) for k, v in limits.items()}
        return found

    def surprise(
        self, statistic: str, sensor: str, others: Sequence[str], value: ArrayLike
    ) -> Values:
        """Return the surprise (N,) of a statistic; NaN where it was not calibrated."""
        key = scale_key(statistic, sensor, others)
        if key in self.scales:
            return self.scales[key].surprise(value)
        moved = self.any_others.get(f"{statistic}/{sensor}")
        if moved is None:
            return np.full(np.shape(value), np.nan)
        known = features(np.array([name in others for name in self.names]))
        return moved.surprise(known, value)

    def to_json(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "scales": {k: t.to_json() for k, t in self.scales.items()},
            "any_others": {k: t.to_json() for k, t in self.any_others.items()},
            "limits": {k: dict(each) for k, each in self.limits.items()},
            "contradiction": self.contradiction,
            "calibration": dict(self.calibration),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Suspicion:
        return cls(
            names=tuple(data["names"]),
            scales={k: Tail.from_json(t) for k, t in data["scales"].items()},
            any_others={k: MovedTail.from_json(t) for k, t in data["any_others"].items()},
            limits={k: dict(each) for k, each in data["limits"].items()},
            contradiction=data["contradiction"],
            calibration=data["calibration"],
        )


def scale_key(statistic: str, sensor: str, others: Sequence[str]) -> str:
    """Return the key of a scale, e.g. 'misfit/rgb given depth+force'."""
    return f"{statistic}/{given(sensor, others)}"


def given(sensor: str, others: Sequence[str]) -> str:
    """Return the one spelling of a sensor given others, e.g. 'rgb given depth+force'."""
    return f"{sensor} given {subset_name(tuple(others))}"


def limit(most: float) -> float:
    """Return the limit of an evidence of which held-out data reached `most`, at most 1."""
    return max(LEAST_LIMIT, 0.5 * (1.0 + most))
