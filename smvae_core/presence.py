"""What depends on which sensors are present, where there are too many subsets to fit each one.

Smooth functions of the presence vector (M,): linear in its features, see `features`. Measured on 8
and 16 sensors: docs/decisions/many-sensors.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Features that know how many sensors are present, and not which.
COUNTS = 3


def features(present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return 1, 1 / n, log n, present / n of n = |present|, (R, 3 + M) of (R, M).

    The fewer there are, the more it counts which: hence present / n.
    """
    p = np.asarray(present, np.float64)
    count = p.sum(axis=-1, keepdims=True)
    return np.concatenate([np.ones_like(count), 1.0 / count, np.log(count), p / count], axis=-1)


def fit_linear(
    inputs: NDArray[np.float64], values: NDArray[Any], penalty: float
) -> NDArray[np.float64]:
    """Return ridge weights (F,) or (F, K) of inputs (R, F), the first of which is 1 and free."""
    ridge = penalty * np.eye(inputs.shape[1])
    ridge[0, 0] = 0.0
    return np.asarray(np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ values))
