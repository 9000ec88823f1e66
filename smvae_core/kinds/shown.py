"""What a person is shown of one sample: plain arrays that any viewer can draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Form = Literal["picture", "field", "curves", "points", "words"]

#: Longest side of an image that is shown [px]: enough to compare by eye, and small to keep.
LONGEST = 256


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One sample as it is drawn.

    | form | values |
    |---|---|
    | picture | (H, W, 3) uint8 RGB |
    | field | (H, W) float32 in `unit`, drawn in colours over `limits`; NaN = not measured |
    | curves | (T, C) float32, T readings `period_s` apart, the last one at the sample's stamp |
    | points | (N, 2) float32 in `unit`, x forward and y left |
    | words | (N,) bytes of UTF-8 |
    """

    form: Form
    values: NDArray[Any]
    names: tuple[str, ...] = ()
    """Of the C curves."""
    unit: str = ""
    limits: tuple[float, float] | None = None
    period_s: float = 0.0


def words(text: str) -> Shown:
    """Return a text as it is shown."""
    return Shown(form="words", values=np.frombuffer(text.encode(), np.uint8))


def colour_limits(shown: Shown) -> tuple[float, float] | None:
    """Return limits that show a field's own values: nearly all of them, within the declared ones.

    None where nothing was measured.
    """
    seen = shown.values[np.isfinite(shown.values)]
    if not seen.size:
        return None
    low, high = (float(v) for v in np.percentile(seen, (1, 99)))
    return low, max(high, low + 1e-3)


def reduced(image: NDArray[Any], interpolation: int = cv2.INTER_AREA) -> NDArray[Any]:
    """Return an image (H, W) or (H, W, C) with its longer side at most `LONGEST`."""
    height, width = image.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1.0:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=interpolation)
