"""What depends on which sensors are present, where there are too many subsets to fit each one.

Smooth functions of the presence vector (M,): linear in its features, see `features`. Measured on 8
and 16 sensors: docs/decisions/many-sensors.md.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError
from smvae_core.modality import subset_name

#: Features that know how many sensors are present, and not which.
COUNTS = 3


def features(present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return 1, 1 / n, log n, present / n of n = |present|, (R, 3 + M) of (R, M).

    The fewer there are, the more it counts which: hence present / n.
    """
    p = np.asarray(present, np.float64)
    count = p.sum(axis=-1, keepdims=True)
    return np.concatenate([np.ones_like(count), 1.0 / count, np.log(count), p / count], axis=-1)


def present_of(
    subset: Sequence[str], fitted: Collection[str], names: Sequence[str], none: str
) -> NDArray[np.bool_] | None:
    """Return the presence vector (M,) of a subset, None of one that was fitted by itself.

    Args:
        subset: Names in the model's order.
        fitted: Subsets that were fitted by themselves, e.g. 'rgb+force'.
        names: Of all sensors, where any subset of them has a function; else empty.
        none: How the error begins, e.g. 'readout: none for'.

    Raises:
        ConfigError: If there is nothing of that subset.
    """
    label = subset_name(tuple(subset))
    if label in fitted:
        return None
    if not subset or not set(subset) <= set(names):
        have = ", ".join(fitted) or f"any of {', '.join(names)}"
        raise ConfigError(f"{none} '{label}', have {have}")
    return np.array([name in subset for name in names])


def fit_linear(
    inputs: NDArray[np.float64], values: NDArray[Any], penalty: float
) -> NDArray[np.float64]:
    """Return ridge weights (F,) or (F, K) of inputs (R, F), the first of which is 1 and free."""
    ridge = penalty * np.eye(inputs.shape[1])
    ridge[0, 0] = 0.0
    return np.asarray(np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ values))
