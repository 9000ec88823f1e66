"""Errors of decoded posterior means from every subset, beside the training mean's.

N items, C components of a posterior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.modality import find, subset_name
from smvae_core.model.distributions import likelihood_mean
from smvae_training.evaluate.images.items import Items
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.mixture import Mixture
from smvae_training.evaluate.likelihood.sampling import SamplingConfig, measure
from smvae_training.evaluate.likelihood.summary import mean_and_error

Values = NDArray[np.float64]


def decoded_errors(
    method: Method,
    inputs: Mapping[str, Tensor],
    subsets: Sequence[tuple[str, ...]],
    targets: Sequence[str],
    device: torch.device | str = "cpu",
) -> dict[str, dict[str, Values]]:
    """Return the mean squared error (N,) of each decoded target by subset, in normalised units.

    The prediction is the mean, over the C components of the posterior, of what is decoded from the
    component's mean: for one Gaussian what a robot would show. Subsets that the method cannot
    encode are left out.

    Args:
        method: On `device`, in evaluation mode.
        inputs: Network inputs (N, *shape) by name, all modalities of every item, on any device.
        subsets: What is observed.
        targets: What is decoded.
        device: Where the method computes.
    """

    def score(
        _: tuple[str, ...], q: Mixture, batch: dict[str, Tensor], __: NDArray[np.int64]
    ) -> dict[str, Tensor]:
        outputs = method.decode(q.mean.flatten(0, 1), targets)
        found = {}
        for name in targets:
            decoded = likelihood_mean(find(method.modalities, name), outputs[name])
            mean = decoded.reshape(q.components, q.items, *decoded.shape[1:]).mean(0)
            found[name] = _squared(batch[name], mean)
        return found

    _, found = measure(method, inputs, SamplingConfig(), subsets, device, score, grouped=False)
    return {subset_name(subset): values for subset, values in found.items()}


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
    baseline = {n: _squared(items.inputs[n], torch.from_numpy(m)).numpy() for n, m in means.items()}
    found = decoded_errors(method, items.inputs, subsets, tuple(means), device)
    scores: dict[str, Any] = {subset_name(subset): None for subset in subsets}
    for subset, errors in found.items():
        scores[subset] = {
            name: _summary(error) | {"ratio": float(error.mean() / baseline[name].mean())}
            for name, error in errors.items()
        }
    return {
        "items": len(items),
        "subsets": scores,
        "training_mean": {name: _summary(error) for name, error in baseline.items()},
    }


def _squared(truth: Tensor, predicted: Tensor) -> Tensor:
    """Return the mean squared error (N,) of samples."""
    return (truth - predicted).square().flatten(1).double().mean(1)


def _summary(error: Values) -> dict[str, Any]:
    return {
        "mean_squared_error": mean_and_error(error),
        "psnr_db": float(-10.0 * np.log10(max(error.mean(), 1e-12))),
    }
