"""A linear readout of the latent: where the hole is, and whether the peg touches. numpy alone.

One map per subset, fitted to the latents of that subset: a map fitted to the latents of all sensors
missed by more than twice as much when there was only force. Z latent.

    offset = W mean + b          std^2 = W^2 variance + residual^2
    contact = 1 / (1 + exp(-(w mean + c)))

`residual` is the error on held-out trajectories. The variance of the latent alone explained a fifth
of that error or less: a posterior does not know what a linear map cannot say.
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
from smvae_core.modality import subset_name
from smvae_core.subsets import FEW_SENSORS, nearest_subset

#: Name of the file in a run and in a bundle.
READOUT = "readout.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a latent says of the task."""

    offset_m: NDArray[np.float64]
    """(3,) peg tip minus hole centre, robot base frame [m]."""
    std_m: NDArray[np.float64]
    """(3,) its standard deviation [m]."""
    contact: float
    """Probability that the peg touches; NaN if the episodes could not tell."""


@dataclass(frozen=True, kw_only=True)
class LinearReadout:
    """The readout of one subset."""

    offset_weights: NDArray[np.float64]
    """(3, Z) [m]."""
    offset_bias: NDArray[np.float64]
    """(3,) [m]."""
    residual_m: NDArray[np.float64]
    """(3,) root mean squared error on held-out trajectories [m]."""
    contact_weights: NDArray[np.float64]
    """(Z,) of the log odds."""
    contact_bias: float
    """NaN if the episodes could not tell."""

    def __post_init__(self) -> None:
        latent_dim = len(self.contact_weights)
        shapes = (self.offset_weights.shape, self.offset_bias.shape, self.residual_m.shape)
        if shapes != ((3, latent_dim), (3,), (3,)) or self.contact_weights.ndim != 1:
            raise ConfigError(
                f"readout: expected offset weights (3, {latent_dim}), bias and residual (3,), "
                f"got {', '.join(map(str, shapes))}"
            )
        arrays = (self.offset_weights, self.offset_bias, self.residual_m, self.contact_weights)
        if not all(np.isfinite(a).all() for a in arrays) or math.isinf(self.contact_bias):
            raise ConfigError("readout: expected finite numbers, got NaN or infinity")
        if (self.residual_m < 0.0).any():
            got = self.residual_m.tolist()
            raise ConfigError(f"readout: expected residuals of 0 or more, got {got}")

    def apply(self, mean: ArrayLike, variance: ArrayLike) -> Estimate:
        """Return the estimate of one latent: mean and variance (Z,), the variance positive."""
        z, spread = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
        if z.shape != self.contact_weights.shape or spread.shape != z.shape:
            raise ConfigError(
                f"readout: expected mean and variance {self.contact_weights.shape}, "
                f"got {z.shape} and {spread.shape}"
            )
        log_odds = float(self.contact_weights @ z) + self.contact_bias
        return Estimate(
            offset_m=self.offset_weights @ z + self.offset_bias,
            std_m=np.sqrt(np.square(self.offset_weights) @ spread + np.square(self.residual_m)),
            contact=0.5 * (1.0 + math.tanh(0.5 * log_odds)),
        )


@dataclass(frozen=True, kw_only=True)
class Readout:
    """The readouts of all subsets, and how they were made."""

    subsets: Mapping[str, LinearReadout]
    """By subset, e.g. 'rgb+force'."""
    weights: str = ""
    """SHA-256 of the weights whose latents these are; a run and its bundles share it."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """By subset: errors on held-out trajectories."""
    fitted: Mapping[str, Any] = field(default_factory=dict)
    """Data, trajectories and records."""

    def apply(self, subset: Sequence[str], mean: ArrayLike, variance: ArrayLike) -> Estimate:
        """Return what the latent of `subset` says; names in the model's order.

        Of more sensors than have all their subsets fitted, the nearest subset's map is taken.

        Args:
            subset: Modalities that were fused.
            mean: (Z,) posterior mean.
            variance: (Z,) posterior variance, not its logarithm.

        Raises:
            ConfigError: If there is no readout of that subset, or the latent has another size.
        """
        label = subset_name(tuple(subset))
        sensors = {name for known in self.subsets for name in known.split("+")}
        if label not in self.subsets and len(sensors) > FEW_SENSORS and sensors >= set(subset):
            label = nearest_subset(subset, self.subsets)
        if label not in self.subsets:
            raise ConfigError(f"readout: none for '{label}', have {', '.join(self.subsets)}")
        return self.subsets[label].apply(mean, variance)

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the content of the JSON file."""
        data = {
            "format": FORMAT,
            "unit": "m",
            "weights": self.weights,
            "fitted": dict(self.fitted),
            "scores": dict(self.scores),
            "subsets": {name: _plain(readout) for name, readout in self.subsets.items()},
        }
        return f"{json.dumps(data, indent=1)}\n".encode()

    @classmethod
    def read(cls, path: Path) -> Readout:
        """Read the JSON file.

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
            if data["format"] != FORMAT:
                raise ConfigError(f"{path}: expected format {FORMAT}, got {data['format']}")
            return cls(
                subsets={name: _linear(values) for name, values in data["subsets"].items()},
                weights=data["weights"],
                scores=data["scores"],
                fitted=data["fitted"],
            )
        except (ValueError, KeyError, TypeError) as err:
            if isinstance(err, ConfigError):
                raise
            raise ConfigError(f"{path}: is no readout: {err!r}") from err


def _plain(readout: LinearReadout) -> dict[str, Any]:
    values = {k: np.asarray(v).tolist() for k, v in vars(readout).items()}
    if math.isnan(readout.contact_bias):
        values["contact_bias"] = None  # JSON has no NaN
    return values


def _linear(values: Mapping[str, Any]) -> LinearReadout:
    arrays = {k: np.asarray(v, np.float64) for k, v in values.items() if k != "contact_bias"}
    bias = values["contact_bias"]
    return LinearReadout(contact_bias=math.nan if bias is None else float(bias), **arrays)
