"""Statistics of LeRobot features, as its own writer gives them: per episode, and of all together.

Numbers that are not finite were not measured and do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Feature -> 'min', 'max', 'mean', 'std', 'count' and quantiles -> values.
Stats = dict[str, dict[str, NDArray[Any]]]
QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
#: Frames of an episode that statistics of images are made of, and the side they are thinned to.
_FRAMES, _SIDE = 100, 150


class Collector:
    """Gathers the values of one feature over one episode."""

    def __init__(self, is_image: bool) -> None:
        self._is_image = is_image
        self._values: list[NDArray[Any]] = []
        self._every, self._seen = 1, 0

    def add(self, value: NDArray[Any]) -> None:
        """Take one row's value; of images an even share that stays bounded."""
        if self._is_image:
            if self._seen % self._every == 0:
                step = max(1, max(value.shape[:2]) // _SIDE)
                self._values.append(value[::step, ::step].copy())
                if len(self._values) == 2 * _FRAMES:
                    self._values, self._every = self._values[::2], 2 * self._every
            self._seen += 1
        else:
            self._values.append(value)

    def result(self) -> dict[str, NDArray[Any]]:
        """Return its statistics; of colours (3, 1, 1) in [0, 1]."""
        if not self._is_image:
            return describe(np.stack(self._values))
        frames = np.stack(self._values)
        channels = frames.shape[3] if frames.ndim == 4 else 1
        scale = 255.0 if frames.dtype == np.uint8 else 1.0
        found = describe(frames.reshape(-1, channels) / scale)
        found = {name: value.reshape(-1, 1, 1) for name, value in found.items()}
        return found | {"count": np.array([len(frames)])}


def describe(values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the statistics of rows (N, ...), per element."""
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    known = np.isfinite(finite)
    finite = np.where(known.any(axis=0), finite, 0.0)
    found = {
        "min": np.nanmin(finite, axis=0),
        "max": np.nanmax(finite, axis=0),
        "mean": np.nanmean(finite, axis=0),
        "std": np.nanstd(finite, axis=0),
        "count": np.array([len(values)]),
    }
    quantiles = np.nanquantile(finite, QUANTILES, axis=0)
    return found | {f"q{round(100 * q):02d}": v for q, v in zip(QUANTILES, quantiles, strict=True)}


def of_indices(count: int, first: int, episode: int, task: int, fps: float) -> Stats:
    """Return those of the columns that number the rows."""
    rows = np.arange(count)[:, None]
    columns = {
        "timestamp": rows / fps,
        "frame_index": rows,
        "episode_index": np.full_like(rows, episode),
        "index": rows + first,
        "task_index": np.full_like(rows, task),
    }
    return {name: describe(values) for name, values in columns.items()}


def flat(stats: Stats) -> dict[str, Any]:
    """Return them as the columns of the table of episodes."""
    return {
        f"stats/{name}/{what}": value.tolist()
        for name, found in stats.items()
        for what, value in found.items()
    }


def together(episodes: Sequence[Stats]) -> dict[str, Any]:
    """Return the statistics of all episodes, weighted by their rows, for stats.json.

    Quantiles are weighted means of those of the episodes, as in LeRobot's own.
    """
    return {name: _together([e[name] for e in episodes]) for name in episodes[0]}


def _together(parts: Sequence[dict[str, NDArray[Any]]]) -> dict[str, Any]:
    counts = np.array([part["count"][0] for part in parts], np.float64)
    weights = counts / counts.sum()

    def mean(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.asarray(np.tensordot(weights, np.stack(values), axes=1))

    middle = mean([part["mean"] for part in parts])
    spread = mean([part["std"] ** 2 + (part["mean"] - middle) ** 2 for part in parts])
    found = {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": middle,
        "std": np.sqrt(spread),
        "count": np.array([int(counts.sum())]),
    }
    found |= {name: mean([p[name] for p in parts]) for name in parts[0] if name.startswith("q")}
    return {what: value.tolist() for what, value in found.items()}
