"""Scores of a method on robot records: likelihoods and image errors of every subset.

K samples, C components, B items, N items, Z latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.device import choose_device
from smvae_core.modality import subset_name
from smvae_core.model.distributions import likelihood_mean
from smvae_core.subsets import evaluated_subsets
from smvae_training.evaluate.likelihood.checks import Check, ess_check, judged
from smvae_training.evaluate.likelihood.entropy import posterior_entropies
from smvae_training.evaluate.likelihood.method import CannotEncode, Method
from smvae_training.evaluate.likelihood.subsets import (
    SubsetConfig,
    SubsetLikelihoods,
    subset_likelihoods,
)
from smvae_training.evaluate.likelihood.summary import mean_and_error

CHUNK = 128
#: Nats; float32 sums over the pixels of images are of the order of 30,000 nats.
PIXEL_ROUNDING = 0.5


def subset_checks(estimates: SubsetLikelihoods, *, require: bool = False) -> list[dict[str, Any]]:
    """Return {name, worst, tolerance, passed} of every check, worst over items and subsets.

    Where all modalities are continuous no likelihood is above 0 and a joint density may exceed a
    marginal one; what is left is Jensen's inequality, on the very samples that both sides share.

    Args:
        estimates: Of one method.
        require: Raise instead of returning failed checks.

    Raises:
        SanityError: If `require` and a check fails.
    """
    subsets = estimates.subsets.values()
    together = [sum(s.expected.values()) - s.predictive for s in subsets]
    alone = [s.expected[name] - s.each[name] for s in subsets for name in estimates.names]
    sides = {"all modalities": together, "each modality": alone}
    found = [
        Check(f"expected <= predictive, {name}", float(np.max(excess)), PIXEL_ROUNDING)
        for name, excess in sides.items()
    ]
    return judged(estimates.method, [*found, ess_check(estimates)], require)


def score_subsets(
    method: Method,
    inputs: Mapping[str, Tensor],
    groups: NDArray[np.int32],
    config: SubsetConfig,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return numbers for the JSON and per-item values.

    Args:
        method: In evaluation mode.
        inputs: Network inputs (N, *shape) by name, of all modalities.
        groups: (N,) trajectory of each item.
        config: Samples and items of the likelihoods; errors are of all N items.
    """
    found = subset_likelihoods(method, inputs, config, device=choose_device())
    errors = image_errors(method, inputs)
    entropies = posterior_entropies(method, inputs, device=choose_device())
    numbers = {
        "likelihoods": found.to_json(groups),
        "checks": subset_checks(found, require=True),
        "entropies": entropies.to_json(),
        "image_errors": {
            subset: {name: mean_and_error(values, groups) for name, values in targets.items()}
            for subset, targets in errors.items()
        },
    }
    items: dict[str, NDArray[Any]] = {"index": found.index, "group": groups[found.index]}
    items |= {k: v for k, v in found.arrays().items() if k.endswith(("/predictive", "/evidence"))}
    items |= {
        f"{subset}/error/{name}": values
        for subset, targets in errors.items()
        for name, values in targets.items()
    }
    return numbers, items


@torch.inference_mode()
def image_errors(
    method: Method, inputs: Mapping[str, Tensor]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the mean squared error (N,) of each decoded image by subset, in normalised units.

    The prediction is the mean, over the C components of the posterior, of the image decoded from
    the component's mean: for one Gaussian what a robot would show. Subsets that the method cannot
    encode are left out.
    """
    images = [m for m in method.modalities if m.is_image]
    count = len(next(iter(inputs.values())))
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for subset in evaluated_subsets(method.names):
        parts: dict[str, list[Tensor]] = {m.name: [] for m in images}
        try:
            for start in range(0, count, CHUNK):
                batch = {n: x[start : start + CHUNK].to(choose_device()) for n, x in inputs.items()}
                for name, error in _errors(method, batch, subset).items():
                    parts[name].append(error.cpu())
        except CannotEncode:
            continue
        found[subset_name(subset)] = {
            name: torch.cat(values).double().numpy() for name, values in parts.items()
        }
    return found


def _errors(
    method: Method, batch: Mapping[str, Tensor], subset: Sequence[str]
) -> dict[str, Tensor]:
    means = method.proposal(batch, subset).mean
    components, items, _ = means.shape
    images = [m for m in method.modalities if m.is_image]
    outputs = method.decode(means.flatten(0, 1), [m.name for m in images])
    found = {}
    for modality in images:
        decoded = likelihood_mean(modality, outputs[modality.name])
        mean = decoded.reshape(components, items, *modality.shape).mean(0)
        found[modality.name] = (mean - batch[modality.name]).square().flatten(1).mean(1)
    return found
