"""Random numbers of a batch of which several devices have a part.

What is drawn for a row of a batch must not depend on who has it: then a run is the same on any
number of devices. So each device draws for every row, which is cheap, and keeps its own.

R rows of the whole batch, B rows that this device has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowDraws:
    """Draws as a numpy generator of arrays whose first axis are rows, and returns some rows."""

    def __init__(self, rng: np.random.Generator, mine: NDArray[np.bool_]) -> None:
        """Keep whose numbers are returned.

        Args:
            rng: The same for every device.
            mine: (R,) True where a row of the whole batch is this device's.
        """
        self._rng, self._mine = rng, mine

    def random(self, size: Any, dtype: Any = np.float64) -> NDArray[Any]:
        """Return numbers in [0, 1) of shape `size`, (B,) or (B, ...)."""
        return self._rng.random(self._whole(size), dtype=dtype)[self._mine]

    def standard_normal(self, size: Any, dtype: Any = np.float64) -> NDArray[Any]:
        """Return standard normal numbers of shape `size`, (B,) or (B, ...)."""
        return self._rng.standard_normal(self._whole(size), dtype=dtype)[self._mine]

    def integers(self, low: int, high: int, size: Any) -> NDArray[np.int64]:
        """Return integers from `low` to `high` - 1 of shape `size`, (B,) or (B, ...)."""
        return self._rng.integers(low, high, self._whole(size))[self._mine]

    def _whole(self, size: Any) -> tuple[int, ...]:
        rows, *others = (size,) if isinstance(size, int | np.integer) else size
        assert rows == self._mine.sum(), f"{rows} rows of {self._mine.sum()}"
        return (len(self._mine), *others)


#: What draws for the rows of a batch, all of them or some.
Draws = np.random.Generator | RowDraws


def draws_of(rng: np.random.Generator, mine: NDArray[np.bool_]) -> Draws:
    """Return what draws for the rows `mine` (R,); `rng` itself where that is all of them."""
    return rng if mine.all() else RowDraws(rng, mine)


def places(draws: Draws, number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return of each row an integer from 0 to `number` (B,) - 1."""
    drawn = np.floor(draws.random(len(number)) * number).astype(np.int64)
    return np.minimum(drawn, number - 1)
