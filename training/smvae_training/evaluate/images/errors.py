"""Errors of decoded posterior means from every subset, beside the training mean's.

N items, M modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.modality import subset_name
from smvae_core.model.distributions import likelihood_mean
from smvae_training.evaluate.images.items import Items
from smvae_training.evaluate.likelihood.method import CannotEncode, Method
from smvae_training.evaluate.likelihood.summary import mean_and_error

CHUNK = 100


def subset_errors(
    method: Method,
    items: Items,
    subsets: Sequence[tuple[str, ...]],
    means: Mapping[str, NDArray[Any]],
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Return the errors of every image decoded from the posterior mean of every subset.

    Args:
        method: On `device`, in evaluation mode.
        items: Held-out items.
        subsets: What is observed.
        means: Mean training image (C, H, W) in [0, 1], by name; these are the targets.
        device: Where the method computes.

    Returns:
        'subsets' -> subset -> target -> mean squared error with its standard error, PSNR of that
        error (so of all items together), and its ratio to the mean image's; 'training_mean' ->
        target -> the mean image's own error. A subset that cannot be encoded is None.
    """
    targets = tuple(means)
    baseline = {
        name: _squared(items.inputs[name], torch.from_numpy(m)) for name, m in means.items()
    }
    found: dict[str, Any] = {}
    for subset in subsets:
        try:
            errors = _subset(method, items, subset, targets, device)
        except CannotEncode:
            found[subset_name(subset)] = None
            continue
        found[subset_name(subset)] = {
            name: _summary(error) | {"ratio": float(error.mean() / baseline[name].mean())}
            for name, error in errors.items()
        }
    return {
        "items": len(items),
        "subsets": found,
        "training_mean": {name: _summary(error) for name, error in baseline.items()},
    }


@torch.inference_mode()
def _subset(
    method: Method,
    items: Items,
    subset: tuple[str, ...],
    targets: tuple[str, ...],
    device: torch.device | str,
) -> dict[str, NDArray[np.float64]]:
    """Return the mean squared error (N,) of each target."""
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in targets}
    for start in range(0, len(items), CHUNK):
        rows = slice(start, start + CHUNK)
        batch = {name: x[rows].to(device) for name, x in items.inputs.items()}
        # the mean of a mixture is the mean of its components' means
        outputs = method.decode(method.proposal(batch, subset).mean.mean(0), targets)
        for modality in method.modalities:
            if modality.name in parts:
                predicted = likelihood_mean(modality, outputs[modality.name])
                parts[modality.name].append(_squared(batch[modality.name], predicted))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _squared(truth: Tensor, predicted: Tensor) -> NDArray[np.float64]:
    """Return the mean squared error (N,) of images in [0, 1]."""
    return np.asarray((truth - predicted).square().flatten(1).double().mean(1).cpu())


def _summary(error: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "mean_squared_error": mean_and_error(error),
        "psnr_db": float(-10.0 * np.log10(max(error.mean(), 1e-12))),
    }
