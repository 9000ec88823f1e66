"""Novelty: how unusual a latent's evidence is, as -log10 of how rare that is on held-out data.

A score of 2 means that one in 100 held-out samples is as unusual, whatever the subset, so one pair
of thresholds serves all of them. It is made in two steps. Three kinds of statistics each get a
calibrated `Tail`:

- `reconstruction/m` of each observed modality: log mean squared error of its decoder's mean at the
  fused latent. Finds what the model has never drawn: a blank, dark, turned or covered image.
- `conflict/m` where at least two are observed: log squared distance between the posterior means of
  m alone and of the others without m, over both variances. Finds evidence that contradicts itself,
  though each part is plausible: a frozen image, the image of another camera.
- `texture/m` and `smooth/m`, both tails of one number: the mean log energy of the input's second
  differences. A decoder's mean is smooth and cannot tell noise from detail, and the mean of logs is
  not moved by edges. Finds noise, and a dead sensor's constant.

Then the largest surprise of a subset gets a tail of its own, which makes subsets with two and with
eight statistics comparable. Left out, since on simulated episodes they found nothing that these did
not: KL to the prior (least of all: absurd inputs give ordinary latents), Mahalanobis distances of
embeddings and of posterior means, and errors weighted by pixel.

A tail is exponential in the statistic beyond its upper tenth: heavier than what held-out data show,
because they come from few trajectories and the next one differs. Calibrated on four of them, new
episodes still exceed 3 up to ten times as often as one in 1000 (docs/novelty.md has the table, and
what is not found: a constant offset of the force first of all).

N samples, Z latent.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality, subset_name
from smvae_core.presence import features

Values = NDArray[np.float64]

#: Default thresholds: one in 100 and one in 1000 held-out samples.
WARN, ERROR = 2.0, 3.0
#: Shares of held-out samples above the knots of a tail; the last is where extrapolation begins.
SHARES = (1.0, 0.8, 0.5, 0.3, 0.2, 0.1)
#: Of a large sample, as of many subsets together, whose upper tenth is no single exponential.
DEEP_SHARES = (*SHARES, 0.05, 0.02)
#: No tail falls faster than by a factor e for this step of a statistic (they are logarithms).
_NARROWEST = 0.05
#: Below this energy differences count as none: rounding of 8-bit images, millimetres of depth.
_FLOOR = 1e-5
#: Of so many subsets places and widths are kept.
_PLACED_SUBSETS = 64


@dataclass(frozen=True, kw_only=True)
class Tail:
    """A calibrated scale: value of a statistic -> -log10 of the share of held-out samples above it.

    Linear between knots; beyond the last one the share falls exponentially.
    """

    values: tuple[float, ...]
    """Not decreasing: values at the knots."""
    surprises: tuple[float, ...]
    """Increasing, from 0: -log10 of the share of held-out samples at or above each knot."""
    slope: float
    """Surprise per unit of value beyond the last knot, positive."""

    def __post_init__(self) -> None:
        if len(self.values) != len(self.surprises) or not self.values or not self.slope > 0.0:
            raise ConfigError(f"novelty: a tail needs as many values as surprises: {self}")
        if not np.isfinite([*self.values, *self.surprises, self.slope]).all():
            raise ConfigError(f"novelty: a tail needs finite numbers: {self}")

    @classmethod
    def fit(cls, sample: ArrayLike, shares: Sequence[float] = SHARES) -> Tail:
        """Return the scale of a sample (N,): knots at `shares`, slope from the mean excess."""
        x = np.asarray(sample, np.float64)
        values = np.quantile(x, [1.0 - share for share in shares])
        excess = max(float((x[x >= values[-1]] - values[-1]).mean()), _NARROWEST)
        return cls(
            values=tuple(values.tolist()),
            surprises=tuple((-np.log10(shares) + 0.0).tolist()),
            slope=1.0 / (excess * np.log(10.0)),
        )

    def surprise(self, value: ArrayLike) -> Values:
        """Return -log10 of the share of held-out samples at or above `value`, same shape.

        Infinite for a value that is not a number.
        """
        x = np.asarray(value, np.float64)
        x = np.where(np.isnan(x), np.inf, x)
        inside = np.interp(x, self.values, self.surprises)
        return np.asarray(inside + np.maximum(x - self.values[-1], 0.0) * self.slope)

    def surprise_of(self, value: float) -> float:
        """Return `surprise` of one number, bit for bit, in a tenth of the time that numpy takes."""
        x = math.inf if math.isnan(value) else value
        values, surprises = self.values, self.surprises
        after = bisect_right(values, x)
        if after == 0:
            inside = surprises[0]
        elif after == len(values):
            inside = surprises[-1]
        else:
            (x0, x1), (y0, y1) = values[after - 1 : after + 1], surprises[after - 1 : after + 1]
            inside = (y1 - y0) / (x1 - x0) * (x - x0) + y0
        return inside + max(x - values[-1], 0.0) * self.slope

    def then(self, other: Tail) -> Tail:
        """Return the scale that gives `other.surprise(self.surprise(x))`."""
        reached = [v for v in other.values if v > self.surprises[0]]
        beyond = [self.values[-1] + (v - self.surprises[-1]) / self.slope for v in reached]
        between = np.interp(reached, self.surprises, self.values)
        extra = np.where(np.array(reached) > self.surprises[-1], beyond, between)
        values = np.unique([*self.values, *extra])
        return Tail(
            values=tuple(values.tolist()),
            surprises=tuple(other.surprise(self.surprise(values)).tolist()),
            slope=self.slope * other.slope,
        )

    def to_json(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tail:
        values, surprises = tuple(data["values"]), tuple(data["surprises"])
        return cls(values=values, surprises=surprises, slope=data["slope"])


@dataclass(frozen=True, kw_only=True)
class MovedTail:
    """A tail whose place and width depend on which sensors are present."""

    place: tuple[float, ...]
    """Weights of `presence.features`."""
    log_width: tuple[float, ...]
    """Weights of the first of them."""
    tail: Tail
    """Of (value - place) / width."""

    def __post_init__(self) -> None:
        if not np.isfinite([*self.place, *self.log_width]).all():
            raise ConfigError(f"novelty: a moved tail needs finite numbers: {self}")

    def placed(self, known: Values) -> tuple[Values, Values]:
        """Return place and width; see `surprise` for the argument."""
        width = np.exp(known[..., : len(self.log_width)] @ np.array(self.log_width))
        return known @ np.array(self.place), width

    def standard(self, known: Values, value: ArrayLike) -> Values:
        """Return (value - place) / width; see `surprise` for the arguments."""
        place, width = self.placed(known)
        return np.asarray((np.asarray(value, np.float64) - place) / width)

    def surprise(self, known: Values, value: ArrayLike) -> Values:
        """Return -log10 of the share of held-out samples at or above `value`.

        Args:
            known: `presence.features` of subsets (R, 3 + M) or of one (3 + M,), for all statistics.
            value: Of the statistic, (R,).
        """
        return self.tail.surprise(self.standard(known, value))

    def to_json(self) -> dict[str, Any]:
        numbers = {"place": list(self.place), "log_width": list(self.log_width)}
        return {**numbers, "tail": self.tail.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MovedTail:
        return cls(
            place=tuple(data["place"]),
            log_width=tuple(data["log_width"]),
            tail=Tail.from_json(data["tail"]),
        )


@dataclass(frozen=True, kw_only=True)
class AnySubset:
    """The scales of subsets that have none of their own, as functions of the presence vector."""

    names: tuple[str, ...]
    """Of all sensors, in declared order."""
    components: Mapping[str, MovedTail]
    """Of each statistic that depends on the subset, e.g. 'conflict/rgb'."""
    sizes: tuple[Tail, ...]
    """Of the largest surprise among a subset's statistics, by its number of sensors, from 1."""

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.names):
            raise ConfigError(
                f"novelty: {len(self.sizes)} sizes of subsets for {len(self.names)} sensors"
            )

    def present(self, subset: Sequence[str]) -> NDArray[np.bool_]:
        """Return the presence vector (M,) of a subset."""
        return np.array([name in subset for name in self.names])

    def placed(self, subset: tuple[str, ...]) -> Mapping[str, tuple[float, float]]:
        """Return place and width of each statistic; live the same subset is asked each time."""
        found = self._placed.get(subset)
        if found is None:
            known = features(self.present(subset))
            pairs = {name: moved.placed(known) for name, moved in self.components.items()}
            found = {name: (float(place), float(width)) for name, (place, width) in pairs.items()}
            if len(self._placed) >= _PLACED_SUBSETS:
                self._placed.clear()
            self._placed[subset] = found
        return found

    @cached_property
    def _placed(self) -> dict[tuple[str, ...], Mapping[str, tuple[float, float]]]:
        return {}

    def to_json(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "components": {k: t.to_json() for k, t in self.components.items()},
            "sizes": [t.to_json() for t in self.sizes],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AnySubset:
        return cls(
            names=tuple(data["names"]),
            components={k: MovedTail.from_json(t) for k, t in data["components"].items()},
            sizes=tuple(Tail.from_json(t) for t in data["sizes"]),
        )


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """What the manifest holds of the score: thresholds, and the calibration behind them."""

    warn: float = WARN
    """From here on a sample is unusual."""
    error: float = ERROR
    """From here on it is out of distribution: not to be acted on."""
    components: Mapping[str, Tail] = field(default_factory=dict)
    """Tail of each statistic, by `component(subset, name, modality)`."""
    subsets: Mapping[str, Tail] = field(default_factory=dict)
    """Tail of the largest surprise among a subset's statistics, by subset."""
    any_subset: AnySubset | None = None
    """Of every subset that is not among `subsets`; None: they are not calibrated."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """How calibrated: data, records, trajectories, quantiles."""

    def __post_init__(self) -> None:
        if not self.warn <= self.error:
            raise ConfigError(f"novelty: expected warn <= error, got {self.warn} and {self.error}")

    def score(self, subset: Sequence[str], statistics: Mapping[str, ArrayLike]) -> Values:
        """Return the score of a subset's statistics, each (N,) or a number, by component.

        Raises:
            ConfigError: If the subset or a statistic was not calibrated.
        """
        self._tail(subset)  # before the statistics, so that an unknown subset is named
        return self.score_of(subset, self.surprises(subset, statistics))

    def score_of(self, subset: Sequence[str], surprises: Mapping[str, float | Values]) -> Values:
        """Return the score of a subset's `surprises`.

        Raises:
            ConfigError: If the subset was not calibrated.
        """
        values: list[Any] = list(surprises.values())
        return self._tail(subset).surprise(np.max(values, axis=0))

    def _tail(self, subset: Sequence[str]) -> Tail:
        """Return the tail of the largest surprise of a subset."""
        label = subset_name(tuple(subset))
        tail = self.subsets.get(label)
        if tail is None and (general := self.any_subset) and set(subset) <= set(general.names):
            tail = general.sizes[len(subset) - 1]
        if tail is None:
            raise ConfigError(f"novelty: '{label}' was not calibrated; export the bundle again")
        return tail

    def surprises(
        self, subset: Sequence[str], statistics: Mapping[str, ArrayLike]
    ) -> dict[str, float | Values]:
        """Return the surprise of each statistic of a subset, by component; a number of a number.

        Raises:
            ConfigError: If a statistic was not calibrated.
        """
        own = subset_name(tuple(subset)) in self.subsets
        general = None if own else self.any_subset
        placed = general.placed(tuple(subset)) if general else {}
        found: dict[str, float | Values] = {}
        missing = []
        for key, given in statistics.items():
            value = given if isinstance(given, float) else np.asarray(given, np.float64)
            name = key.partition("/")[2]
            if general and name in placed:
                (place, width), tail = placed[name], general.components[name].tail
                value = (value - place) / width
            elif key in self.components:
                tail = self.components[key]
            else:
                missing.append(key)
                continue
            if isinstance(value, float):
                found[key] = tail.surprise_of(value)
            else:
                found[key] = tail.surprise(value)
        if missing:
            said = ", ".join(missing)
            raise ConfigError(f"novelty: no scale for {said}; export the bundle again")
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "warn": self.warn,
            "error": self.error,
            "components": {k: t.to_json() for k, t in self.components.items()},
            "subsets": {k: t.to_json() for k, t in self.subsets.items()},
            **({"any_subset": self.any_subset.to_json()} if self.any_subset else {}),
            "calibration": dict(self.calibration),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Novelty:
        values = dict(data)
        for name in ("components", "subsets"):
            values[name] = {k: Tail.from_json(t) for k, t in values[name].items()}
        if values.get("any_subset"):
            values["any_subset"] = AnySubset.from_json(values["any_subset"])
        return cls(**values)


def component(subset: Sequence[str], name: str, modality: str) -> str:
    """Return the key of a statistic; those of an input alone do not depend on the subset."""
    key = f"{name}/{modality}"
    return key if name in ("texture", "smooth") else f"{subset_name(tuple(subset))}/{key}"


def largest(tails: Mapping[str, Tail], statistics: Mapping[str, ArrayLike]) -> Values:
    """Return the largest surprise among statistics, each (N,) or a number, by component."""
    missing = [key for key in statistics if key not in tails]
    if missing:
        raise ConfigError(f"novelty: no scale for {', '.join(missing)}; export the bundle again")
    found = [tails[key].surprise(value) for key, value in statistics.items()]
    return np.asarray(np.max(found, axis=0))


def reconstruction(modality: Modality, x: NDArray[Any], mean: NDArray[Any]) -> Values:
    """Return the log error (N,) of decoders' means (N, *shape) against network inputs `x`.

    Squared error for a Gaussian likelihood, cross-entropy for the others; mean over elements.
    """
    if modality.likelihood == "gaussian":
        error = np.square(x - mean, dtype=np.float64)
    else:
        p = np.clip(np.asarray(mean, np.float64), 1e-6, 1.0 - 1e-6)
        error = -x * np.log(p)
        if modality.likelihood == "bernoulli":
            error -= (1.0 - x) * np.log(1.0 - p)
    return np.asarray(np.log(1e-9 + error.reshape(len(x), -1).mean(axis=1)))


def conflict(
    mean: NDArray[Any], log_var: NDArray[Any], mean_rest: NDArray[Any], log_var_rest: NDArray[Any]
) -> Values:
    """Return the log distance (N,) of two posteriors (N, Z), mean over dimensions."""
    spread = np.exp(np.asarray(log_var, np.float64)) + np.exp(np.asarray(log_var_rest, np.float64))
    squared = np.square(np.asarray(mean, np.float64) - mean_rest) / spread
    return np.asarray(np.log(1e-9 + squared.mean(axis=1)))


def texture(modality: Modality, x: NDArray[Any]) -> Values | None:
    """Return the mean log energy (N,) of second differences of inputs (N, *shape).

    None for kinds without neighbours.
    """
    second = modality.family.second_differences(modality, x)
    if second is None:
        return None
    energy = np.log(_FLOOR + np.square(second, dtype=np.float64))
    return np.asarray(energy.reshape(len(x), -1).mean(axis=1))
