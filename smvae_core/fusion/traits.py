"""What fusion asks of a modality's kind: the only place of this package that depends on one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.fusion.window import WINDOW_PERIOD_NS, resample_window
from smvae_core.modality import Modality

_IMAGES_KEPT = 8  # 133 ms at 60 Hz: a reference of a camera that is slow to deliver
_VALUES_KEPT = 2048  # 256 ms at 8 kHz: a window before such a reference


def is_window(modality: Modality) -> bool:
    """Return whether a sample is made of many messages, which are converted as they come."""
    return modality.kind == "force_window"


def kept(modality: Modality) -> int:
    """Return how many messages a channel keeps."""
    return _IMAGES_KEPT if modality.is_image else _VALUES_KEPT


def may_follow(modality: Modality) -> bool:
    """Return whether a sample a little later than the reference may stand for it.

    An image a little later shows the same scene; a later command or reading is not known yet.
    """
    return modality.is_image


def span_s(modality: Modality) -> float:
    """Return the time that one sample covers [s]."""
    return modality.shape[1] * WINDOW_PERIOD_NS * 1e-9 if is_window(modality) else 0.0


def assemble(
    modality: Modality, stamps_ns: NDArray[np.int64], values: Sequence[Any], min_samples: int
) -> Any:
    """Return the sample that ends with the last of some messages, oldest first.

    Raises:
        SampleError: If it is not covered yet; a window only.
    """
    if not is_window(modality):
        return values[-1]
    return resample_window(
        stamps_ns,
        np.array(values),
        int(stamps_ns[-1]),
        length=modality.shape[1],
        min_samples=min_samples,
        name=modality.name,
    )
