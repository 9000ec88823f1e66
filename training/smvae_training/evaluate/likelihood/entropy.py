"""Entropy of the posterior given every subset: does each further modality make it surer?

N items, K samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.modality import subset_name
from smvae_core.subsets import evaluated_subsets
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.mixture import Mixture
from smvae_training.evaluate.likelihood.sampling import Measurement, SamplingConfig, draw, measure
from smvae_training.evaluate.likelihood.summary import Values, mean_and_error, plain

#: Nats by which entropy may rise and still count as staying.
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Entropies(Measurement):
    """Entropy of q(z given x_S) of one method."""

    entropy: dict[tuple[str, ...], Values]
    """(N,) nats by subset, smallest first."""
    exact: bool
    """False if a posterior was a mixture, whose entropy is a mean over K samples."""

    def changes(self) -> dict[str, Values]:
        """Return entropy(S + one) - entropy(S) (N,) of every pair, named 'force -> force+action'.

        Pairs with a refused subset are left out.
        """
        found = {}
        for larger, after in self.entropy.items():
            for smaller, before in self.entropy.items():
                if len(smaller) == len(larger) - 1 and set(smaller) < set(larger):
                    found[f"{subset_name(smaller)} -> {subset_name(larger)}"] = after - before
        return found

    def share_not_rising(self) -> float:
        """Return the share of (item, S, S + one) in which entropy falls or stays."""
        changes = self.changes()
        if not changes:
            return math.nan
        return float(np.mean([change <= TOLERANCE for change in changes.values()]))

    def to_json(self) -> dict[str, Any]:
        """Return means by subset and by count, and how often a further modality lowers it."""
        changes = self.changes()
        by_count: dict[str, list[Values]] = {}
        for subset, values in self.entropy.items():
            by_count.setdefault(str(len(subset)), []).append(values)
        together = np.all([c <= TOLERANCE for c in changes.values()], axis=0) if changes else None
        return self.about() | {
            "exact": self.exact,
            "subsets": {subset_name(s): mean_and_error(v) for s, v in self.entropy.items()}
            | dict.fromkeys(self.refused),
            "by_count": {n: mean_and_error(np.mean(v, axis=0)) for n, v in by_count.items()},
            "tolerance": TOLERANCE,
            "pairs": len(changes),
            "share_not_rising": plain(self.share_not_rising()),
            "share_of_items_never_rising": None if together is None else float(together.mean()),
            "largest_rise": plain(np.max([*changes.values()]) if changes else math.nan),
            "pairs_not_rising": {
                pair: float((change <= TOLERANCE).mean()) for pair, change in changes.items()
            },
            "refused": self.refused,
        }


def posterior_entropies(
    method: Method,
    inputs: Mapping[str, Tensor],
    config: SamplingConfig | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Entropies:
    """Measure the entropy of the posterior given all 2^M - 1 subsets of every item.

    Args:
        method: Any number of modalities, on `device`, in evaluation mode.
        inputs: Network inputs (N, *shape) by name, all modalities of every item, on any device.
        config: Items; samples and seed where the posterior is a mixture.
        device: Where the method computes.

    Raises:
        ConfigError: If the inputs lack a modality or differ in length.
    """
    config = config or SamplingConfig()
    single = []

    def score(
        _: tuple[str, ...], q: Mixture, __: dict[str, Tensor], items: NDArray[np.int64]
    ) -> dict[str, Tensor]:
        single.append(q.components == 1)
        return {"entropy": _entropy(q, items, config)}

    subsets = evaluated_subsets(method.names)
    about, found = measure(method, inputs, config, subsets, device, score, grouped=False)
    entropy = {subset: values["entropy"] for subset, values in found.items()}
    return Entropies(entropy=entropy, exact=all(single), **about)


def _entropy(posterior: Mixture, items: NDArray[np.int64], config: SamplingConfig) -> Tensor:
    """Return the entropy (B,): of a Gaussian exactly, of a mixture as the mean of -log q(z)."""
    if posterior.components == 1:
        constant = posterior.latent_dim * (1.0 + math.log(2.0 * math.pi))
        return 0.5 * (posterior.log_var[0].double().sum(-1) + constant)
    z, log_share = draw(posterior, items, config)
    return -(log_share.exp() * posterior.log_prob(z)).sum(0)
