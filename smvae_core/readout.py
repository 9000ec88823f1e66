"""A linear readout of the latent: what a data set's targets were. numpy alone.

One map per target and subset, fitted to the latents of that subset: a map fitted to the latents of
all sensors missed by more than twice as much when there was only force. Of many sensors one
`PresenceMap` per target. Z latent, K numbers of a target.

    continuous: value = W mean + b       std^2 = W^2 variance + residual^2
    binary:     value = 1 / (1 + exp(-(W mean + b)))

`residual` is the error on held-out records. The variance of the latent alone explained a fifth of
that error or less: a posterior does not know what a linear map cannot say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smvae_core.errors import ConfigError
from smvae_core.files import write_bytes
from smvae_core.modality import subset_name
from smvae_core.presence import features, present_of

#: Name of the file in a run and in a bundle.
READOUT = "readout.json"
FORMAT = 2
#: Why a readout is NaN.
NOT_TOLD = "the data could not tell"
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What is read out."""

    unit: str = "1"
    """SI unit of a continuous one."""
    binary: bool = False
    fields: tuple[str, ...] = ()
    """Name of each of its K numbers, e.g. 'x'."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a latent says of one target."""

    value: Array
    """(K,) in the target's unit; probabilities of a binary one; NaN if the data could not tell."""
    std: Array
    """(K,) standard deviation, NaN of a binary one."""
    covariance: Array
    """(K, K), NaN of a binary one; the square of `std` on its diagonal."""
    reason: str = ""
    """Which numbers are NaN, and why; empty where the value is known."""


@dataclass(frozen=True, kw_only=True)
class LinearMap:
    """The readout of one target from the latents of one subset."""

    weights: Array
    """(K, Z) in the target's unit; of the log odds of a binary one."""
    bias: Array
    """(K,), NaN where the data could not tell."""
    residual: Array
    """(K,) root mean squared error on held-out records; not read of a binary target."""
    propagates: bool = True
    """Whether the latent's variance adds to the residual's; else the residual is all of it."""

    def __post_init__(self) -> None:
        shapes = (self.weights.shape, self.bias.shape, self.residual.shape)
        if self.weights.ndim != 2 or not shapes[1] == shapes[2] == shapes[0][:1]:
            raise ConfigError(
                "readout: expected weights (K, Z), bias and residual (K,), "
                f"got {', '.join(map(str, shapes))}"
            )
        if not (np.isfinite(self.weights).all() and np.isfinite(self.residual).all()) or (
            np.isinf(self.bias).any()
        ):
            raise ConfigError("readout: expected finite numbers, got NaN or infinity")
        if (self.residual < 0.0).any():
            got = self.residual.tolist()
            raise ConfigError(f"readout: expected residuals of 0 or more, got {got}")

    def apply(self, mean: ArrayLike, variance: ArrayLike, *, binary: bool = False) -> Estimate:
        """Return the estimate of one latent: mean and variance (Z,), the variance positive."""
        z, spread = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
        if z.shape != self.weights.shape[1:] or spread.shape != z.shape:
            raise ConfigError(
                f"readout: expected mean and variance {self.weights.shape[1:]}, "
                f"got {z.shape} and {spread.shape}"
            )
        value = self.weights @ z + self.bias
        if binary:
            probability = 0.5 * (1.0 + np.tanh(0.5 * value))
            unknown = np.full((len(value), len(value)), np.nan)
            return Estimate(value=probability, std=unknown[0], covariance=unknown)
        propagated = np.square(self.weights) @ spread if self.propagates else 0.0
        covariance = np.diag(np.square(self.residual))
        if self.propagates:
            covariance = covariance + (self.weights * spread) @ self.weights.T
        return Estimate(
            value=value,
            std=np.sqrt(propagated + np.square(self.residual)),
            covariance=covariance,
            reason=NOT_TOLD if np.isnan(value).any() else "",
        )

    def to_json(self) -> dict[str, Any]:
        arrays = ("weights", "bias", "residual")
        values = {k: np.asarray(getattr(self, k)).tolist() for k in arrays}
        values["bias"] = [None if math.isnan(b) else b for b in values["bias"]]  # JSON has no NaN
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LinearMap:
        bias = [math.nan if b is None else b for b in values["bias"]]
        weights, residual = (np.asarray(values[k], np.float64) for k in ("weights", "residual"))
        return cls(weights=weights, bias=np.asarray(bias, np.float64), residual=residual)


@dataclass(frozen=True, kw_only=True)
class PresenceMap:
    """The readout of one target from the latents of any subset: linear maps, linear in features.

    Where there are too many subsets to fit each one. F features of the presence vector, see
    `presence.features`. The latent's variance is not propagated: of dimensions that carry nothing
    it is large and so are their weights, and 90 % intervals would hold 99 %.
    """

    weights: Array
    """(F, K, Z)."""
    bias: Array
    """(F, K)."""
    log_residual: Array
    """(F, K)."""

    def __post_init__(self) -> None:
        shapes = (self.weights.shape, self.bias.shape, self.log_residual.shape)
        if self.weights.ndim != 3 or not shapes[1] == shapes[2] == shapes[0][:2]:
            raise ConfigError(
                "readout: expected weights (F, K, Z), bias and log residual (F, K), "
                f"got {', '.join(map(str, shapes))}"
            )
        if not all(np.isfinite(array).all() for array in vars(self).values()):
            raise ConfigError("readout: expected finite numbers, got NaN or infinity")

    def of(self, present: NDArray[np.bool_]) -> LinearMap:
        """Return the map of one subset (M,)."""
        known = features(present)
        return LinearMap(
            weights=np.einsum("f,fkz->kz", known, self.weights),
            bias=known @ self.bias,
            residual=np.exp(known @ self.log_residual),
            propagates=False,
        )

    def to_json(self) -> dict[str, Any]:
        return {k: np.asarray(v).tolist() for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PresenceMap:
        return cls(**{k: np.asarray(v, np.float64) for k, v in values.items()})


@dataclass(frozen=True, kw_only=True)
class Readout:
    """The readouts of all targets and subsets, and how they were made."""

    targets: Mapping[str, Quantity]
    subsets: Mapping[str, Mapping[str, LinearMap]]
    """By subset, e.g. 'rgb+force', then by target."""
    names: tuple[str, ...] = ()
    """Of all sensors, in declared order; what `any_subset` is a function of."""
    any_subset: Mapping[str, PresenceMap] = field(default_factory=dict)
    """By target: of every subset that is not among `subsets`; empty: they have no readout."""
    weights: str = ""
    """SHA-256 of the weights whose latents these are; a run and its bundles share it."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """By subset, then by target: errors on held-out records."""
    fitted: Mapping[str, Any] = field(default_factory=dict)
    """Data, groups and records."""

    def apply(
        self,
        subset: Sequence[str],
        mean: ArrayLike,
        variance: ArrayLike,
        *,
        remembering: bool = False,
    ) -> dict[str, Estimate]:
        """Return what the latent of `subset` says of each target; names in the model's order.

        Args:
            subset: Modalities that were fused.
            mean: (Z,) posterior mean.
            variance: (Z,) posterior variance, not its logarithm.
            remembering: As of `Estimates`; a readout is fitted to moments by themselves either way.

        Raises:
            ConfigError: If there is no readout of that subset, or the latent has another size.
        """
        names = self.names if self.any_subset else ()
        present = present_of(subset, self.subsets, names, "readout: none for")
        found = (
            self.subsets[subset_name(tuple(subset))]
            if present is None
            else {name: general.of(present) for name, general in self.any_subset.items()}
        )
        return {
            name: linear.apply(mean, variance, binary=self.targets[name].binary)
            for name, linear in found.items()
        }

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        write_bytes(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the content of the JSON file."""
        data = {
            "format": FORMAT,
            "weights": self.weights,
            "targets": {name: vars(q) for name, q in self.targets.items()},
            "fitted": dict(self.fitted),
            "scores": dict(self.scores),
            "subsets": {
                label: {name: found.to_json() for name, found in maps.items()}
                for label, maps in self.subsets.items()
            },
            "names": list(self.names),
            "any_subset": {name: found.to_json() for name, found in self.any_subset.items()},
        }
        return f"{json.dumps(data, indent=1)}\n".encode()

    @classmethod
    def read(cls, path: Path) -> Readout:
        """Read the JSON file, of format 1 too, which knows a peg's offset and contact alone.

        Raises:
            ConfigError: If it is missing, damaged or of another format.
        """
        try:
            return cls.parse(path.read_bytes(), path)
        except OSError as err:
            raise ConfigError(f"{path}: is no readout: {err!r}") from err

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Readout:
        """Return the readout in the content of a JSON file; `path` is named in errors.

        Raises:
            ConfigError: If it is damaged or of another format.
        """
        try:
            data = json.loads(content.decode("utf-8"))
            if data["format"] == 1:
                data = _of_format_1(data)
            elif data["format"] != FORMAT:
                raise ConfigError(f"{path}: expected format 1 or {FORMAT}, got {data['format']}")
            quantities = {
                name: Quantity(**{**values, "fields": tuple(values["fields"])})
                for name, values in data["targets"].items()
            }
            return cls(
                targets=quantities,
                subsets={
                    label: {name: LinearMap.from_json(maps[name]) for name in quantities}
                    for label, maps in data["subsets"].items()
                },
                names=tuple(data["names"]),
                any_subset={k: PresenceMap.from_json(v) for k, v in data["any_subset"].items()},
                weights=data["weights"],
                scores=data["scores"],
                fitted=data["fitted"],
            )
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            if isinstance(err, ConfigError):
                raise
            raise ConfigError(f"{path}: is no readout: {err!r}") from err


def _of_format_1(data: Mapping[str, Any]) -> dict[str, Any]:
    def maps(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "offset": {
                "weights": values["offset_weights"],
                "bias": values["offset_bias"],
                "residual": values["residual_m"],
            },
            "contact": {
                "weights": [values["contact_weights"]],
                "bias": [values["contact_bias"]],
                "residual": [0.0],
            },
        }

    targets = {
        "offset": {"unit": "m", "binary": False, "fields": ["x", "y", "z"]},
        "contact": {"unit": "1", "binary": True, "fields": []},
    }
    subsets = {label: maps(values) for label, values in data["subsets"].items()}
    return {**data, "targets": targets, "subsets": subsets, "names": [], "any_subset": {}}
