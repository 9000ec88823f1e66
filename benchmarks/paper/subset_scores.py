"""Scores of a method on robot records: likelihoods and image errors of every subset.

N items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.paper.device import choose_device
from smvae_core.subsets import evaluated_subsets
from smvae_training.evaluate.images.errors import decoded_errors
from smvae_training.evaluate.likelihood.checks import Check, ess_check, judged
from smvae_training.evaluate.likelihood.entropy import posterior_entropies
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.subsets import (
    SubsetConfig,
    SubsetLikelihoods,
    subset_likelihoods,
)
from smvae_training.evaluate.likelihood.summary import mean_and_error
from smvae_training.evaluate.measures import images

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
    every = evaluated_subsets(method.names)
    names = [m.name for m in images(method.modalities)]
    errors = decoded_errors(method, inputs, every, names, choose_device())
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
