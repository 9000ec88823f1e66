"""How far the deviations that a model decodes of its targets are off, per subset of sensors. numpy.

Fitted at export on held-out records: deviations times `factor` hold 90 % of the errors within 1.645
of them. K numbers of a target, F features of a presence vector.
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
    fitted: Mapping[str, Any] = field(default_factory=dict)
    """Data and records."""

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
