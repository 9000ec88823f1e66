"""What evaluation asks of a kind: errors, what counts, how it is shown.

N records; arrays (N, *shape) in SI units, channels first, colour in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import (
    structural_similarity_index_measure,
)

from smvae_core.modality import Modality
from smvae_training.evaluate.records import Array


def images(modalities: Iterable[Modality]) -> tuple[Modality, ...]:
    """Return the modalities that a person can look at."""
    return tuple(m for m in modalities if m.is_image)


def blind(modalities: Iterable[Modality]) -> tuple[str, ...]:
    """Return the names of the others."""
    return tuple(m.name for m in modalities if not m.is_image)


def windows(modalities: Iterable[Modality]) -> tuple[Modality, ...]:
    """Return the modalities whose samples are made of many readings."""
    return tuple(m for m in modalities if m.family.is_window)


def descriptions(modalities: Iterable[Modality]) -> tuple[Modality, ...]:
    """Return the modalities that name what is seen: labels and attributes."""
    return tuple(m for m in modalities if m.is_discrete)


def is_described_image(modalities: Sequence[Modality]) -> bool:
    """Return whether the modalities are an image and its label or attributes, in this order."""
    pair = (*images(modalities[:1]), *descriptions(modalities[1:]))
    return len(pair) == len(modalities) == 2


def is_exclusive(modality: Modality) -> bool:
    """Return whether exactly one of the classes is true (a label), rather than any (attributes)."""
    return modality.likelihood == "categorical"


def in_levels(modality: Modality) -> bool:
    """Return whether samples are pictures of levels between 0 and 1, kept as 0 to 255."""
    return modality.is_image and modality.family.shown_range(modality) is None


def measured(modality: Modality, si: Array) -> NDArray[np.bool_]:
    """Return which elements of samples (N, *shape) were measured: of depth, those with a return."""
    return modality.family.measured(modality, si)


def features_of(modality: Modality, x: Array) -> Array:
    """Return low-dimensional features (N, F) of network inputs, for nearest neighbours."""
    return modality.family.features(modality, x)


def shown_range(modality: Modality, truth: Array) -> tuple[float, float] | None:
    """Return the values of the first and last colour, from true images; None: shown as they are."""
    if modality.family.shown_range(modality) is None:
        return None
    seen = truth[measured(modality, truth)]
    if not seen.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(seen, (1, 99)))
    return low, max(high, low + 1e-3)


def picture(modality: Modality, image: Array, limits: tuple[float, float] | None = None) -> Array:
    """Return an image (C, H, W) as RGB (H, W, 3) in [0, 1]; what was not measured is black."""
    limits = limits or shown_range(modality, image)
    if limits is None:
        shown = np.clip(image, 0.0, 1.0).transpose(1, 2, 0)
        return np.asarray(np.broadcast_to(shown, (*shown.shape[:2], 3)), np.float32)
    level = (np.nan_to_num(image[0]) - limits[0]) / (limits[1] - limits[0])
    colours = cv2.applyColorMap(
        np.rint(255 * np.clip(level, 0.0, 1.0)).astype(np.uint8), cv2.COLORMAP_VIRIDIS
    )
    seen = measured(modality, image)[0][..., None]
    return np.asarray(np.where(seen, colours[..., ::-1] / np.float32(255.0), 0.0), np.float32)


def similarity(modality: Modality, truth: Array, predicted: Array) -> dict[str, float]:
    """Return the structural similarity of colour images, which costs too much for all records."""
    if not in_levels(modality):
        return {}
    return {"ssim": ssim(truth, predicted) if len(truth) else np.nan}


def errors(modality: Modality, truth: Array, predicted: Array) -> dict[str, float]:
    """Return the errors of a kind: PSNR, MAE over valid pixels, or RMSE per group of fields."""
    return modality.family.errors(modality, truth, predicted)


def ssim(truth: Array, predicted: Array) -> float:
    """Return the mean structural similarity (11 x 11 Gaussian window, sigma 1.5)."""
    value = structural_similarity_index_measure(
        torch.from_numpy(predicted), torch.from_numpy(truth), data_range=1.0
    )
    assert isinstance(value, torch.Tensor)
    return float(value)


def squared_error(
    modality: Modality,
    truth: Array,
    predicted: Array,
    regions: Sequence[NDArray[np.bool_] | None] = (None,),
) -> list[NDArray[np.float64]]:
    """Return the mean squared error (N,) of each image, for each region.

    Depth counts only pixels with a return in the truth. NaN where no pixel counts.

    Args:
        modality: An image.
        truth: (N, C, H, W).
        predicted: (N, C, H, W), or (1, C, H, W) for one image for all.
        regions: (H, W) bool, the pixels that count; None for all.
    """
    difference = predicted - truth
    error = np.einsum("nchw,nchw->nhw", difference, difference) / truth.shape[1]
    valid = measured(modality, truth)[:, 0].astype(np.float32)
    error = error * valid
    found = []
    for region in regions:
        pixels = np.ones(error.shape[1:], bool) if region is None else region
        total = valid[:, pixels].sum(axis=1, dtype=np.float64)
        summed = error[:, pixels].sum(axis=1, dtype=np.float64)
        found.append(np.where(total > 0, summed / np.maximum(total, 1), np.nan))
    return found


def finite_mean(values: NDArray[Any]) -> float:
    """Return the mean of the values that are finite; NaN where none is."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan
