"""How far the deviations that a model decodes of its targets are off, per subset of sensors. numpy.

Fitted at export on held-out records: deviations times `factor` hold 90 % of the errors within 1.645
of them. With memory a posterior's deviation grows with the age of what it rests on, rightly or not,
so that its factor is a function of the deviation. K numbers of a target, F features of a presence
vector, Q knots.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError
from smvae_core.modality import subset_name
from smvae_core.presence import features, present_of

#: Name of the file in a bundle.
ESTIMATES = "estimates.json"
FORMAT = 1
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Factors of deviations by how large these are, of one target."""

    deviation: Array
    """(Q, K) knots, in the target's unit, rising; before the factor."""
    factor: Array
    """(Q, K); NaN where no more is told than the training mean."""

    def at(self, deviation: Array) -> Array:
        """Return the factors (K,) of deviations (K,): linear between knots, in the logarithm.

        Beyond the last knot they are its own. NaN nearest to a knot where nothing is told.
        """
        found = np.full(len(deviation), np.nan)
        for k, value in enumerate(deviation):
            knots, factors = self.deviation[:, k], self.factor[:, k]
            told = np.isfinite(factors)
            if np.isfinite(value) and told[np.abs(knots - value).argmin()]:
                x, y = np.log(knots[told]), factors[told]
                found[k] = np.interp(np.log(max(value, knots[0])), x, y)
        return found


@dataclass(frozen=True, kw_only=True)
class EstimateCalibration:
    """Factors of the deviations of all targets and subsets, and what they were fitted to."""

    subsets: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    """By subset, e.g. 'rgb+force', then by target: (K,), NaN of a number of which the subset tells
    no more than the training mean; of a binary target 1 or NaN."""
    names: tuple[str, ...] = ()
    """Of all sensors, in declared order; what `any_subset` is a function of."""
    any_subset: Mapping[str, Array] = field(default_factory=dict)
    """By target: (F, K), the log factor of every subset that is not among `subsets` is linear in
    the features of its presence vector."""
    remembering: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    """Of posteriors with memory, by what they rest on: sensors that are there, or are remembered.
    Of targets that are not binary; of others, and without a memory, `subsets` is taken."""
    fitted: Mapping[str, Any] = field(default_factory=dict)
    """Data and records."""

    def factor_of(
        self, subset: Sequence[str], target: str, deviation: Array, *, remembering: bool
    ) -> Array:
        """Return the factors (K,) of one posterior that rests on `subset`, with memory or not.

        Args:
            subset: Sensors that are there or remembered, in the model's order.
            target: Its name.
            deviation: (K,) as decoded.
            remembering: Whether it is a posterior with memory.

        Raises:
            ConfigError: If there are none of that subset.
        """
        curves = self.remembering.get(subset_name(tuple(subset)), {}) if remembering else {}
        return curves[target].at(deviation) if target in curves else self.factor(subset, target)

    def factor(self, subset: Sequence[str], target: str) -> Array:
        """Return the factors (K,) of a subset, in the model's order; NaN where it tells nothing.

        Raises:
            ConfigError: If there are none of that subset.
        """
        names = self.names if self.any_subset else ()
        present = present_of(subset, self.subsets, names, "estimates: no calibration of")
        if present is None:
            return self.subsets[subset_name(tuple(subset))][target]
        return np.asarray(np.exp(features(present) @ self.any_subset[target]))

    def to_bytes(self) -> bytes:
        """Return the content of the JSON file."""
        data = {
            "format": FORMAT,
            "subsets": {s: _plain(found) for s, found in self.subsets.items()},
            "names": list(self.names),
            "any_subset": _plain(self.any_subset),
            "remembering": {
                subset: {name: _plain(vars(curve)) for name, curve in found.items()}
                for subset, found in self.remembering.items()
            },
            "fitted": dict(self.fitted),
        }
        return f"{json.dumps(data, indent=1)}\n".encode()

    @classmethod
    def parse(cls, content: bytes, path: Path) -> EstimateCalibration:
        """Return the calibration in the content of a JSON file; `path` is named in errors.

        Raises:
            ConfigError: If it is damaged or of another format.
        """
        try:
            data = json.loads(content.decode("utf-8"))
            if data["format"] != FORMAT:
                raise ConfigError(f"{path}: expected format {FORMAT}, got {data['format']}")
            return cls(
                subsets={s: _arrays(found) for s, found in data["subsets"].items()},
                names=tuple(data["names"]),
                any_subset=_arrays(data["any_subset"]),
                remembering={
                    subset: {name: Curve(**_arrays(curve)) for name, curve in found.items()}
                    for subset, found in data.get("remembering", {}).items()
                },
                fitted=data["fitted"],
            )
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            if isinstance(err, ConfigError):
                raise
            raise ConfigError(f"{path}: is no calibration of estimates: {err!r}") from err


def _plain(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return arrays as lists; JSON has no NaN."""
    plain = {}
    for name, array in arrays.items():
        written = np.array(array, object)
        written[np.isnan(array)] = None
        plain[name] = written.tolist()
    return plain


def _arrays(values: Mapping[str, Any]) -> dict[str, Array]:
    return {k: np.asarray(v, np.float64) for k, v in values.items()}
