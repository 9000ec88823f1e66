"""Entropy of the posterior given every subset: does each further modality make it surer?

N items, K samples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.modality import subset_name
from smvae_core.subsets import evaluated_subsets
from smvae_training.evaluate.likelihood.method import CannotEncode, Method
from smvae_training.evaluate.likelihood.mixture import Mixture
from smvae_training.evaluate.likelihood.sampling import (
    SamplingConfig,
    blocks,
    chosen_items,
    count_items,
    draw,
)
from smvae_training.evaluate.likelihood.summary import Values, mean_and_error, plain

#: Nats by which entropy may rise and still count as staying.
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Entropies:
    """Entropy of q(z given x_S) of one method."""

    method: str
    index: NDArray[np.int64]
    """(N,) rows of the inputs that were scored."""
    entropy: dict[tuple[str, ...], Values]
    """(N,) nats by subset, smallest first."""
    exact: bool
    """False if a posterior was a mixture, whose entropy is a mean over K samples."""
    refused: dict[str, str]
    """Subsets that the method cannot encode, and why."""
    config: SamplingConfig
    seconds: float

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
        return {
            "method": self.method,
            "items": len(self.index),
            "exact": self.exact,
            "settings": asdict(self.config),
            "seconds": self.seconds,
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

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the per-item arrays for one .npz, by subset name."""
        named: dict[str, NDArray[Any]] = {"index": self.index}
        return named | {subset_name(s): values for s, values in self.entropy.items()}


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
    started = time.perf_counter()
    index = chosen_items(count_items(method, inputs), config)
    parts: dict[tuple[str, ...], list[Values]] = {}
    refused: dict[str, str] = {}
    exact = True
    with torch.inference_mode():
        for items, batch in blocks(method, inputs, index, device):
            for subset in evaluated_subsets(method.names):
                try:
                    posterior = method.proposal(batch, subset)
                except CannotEncode as error:
                    refused[subset_name(subset)] = str(error)
                    continue
                exact = exact and posterior.components == 1
                parts.setdefault(subset, []).append(_entropy(posterior, items, config))
    return Entropies(
        method=method.name,
        index=index,
        entropy={subset: np.concatenate(found) for subset, found in parts.items()},
        exact=exact,
        refused=refused,
        config=config,
        seconds=time.perf_counter() - started,
    )


def _entropy(posterior: Mixture, items: NDArray[np.int64], config: SamplingConfig) -> Values:
    """Return the entropy (B,): of a Gaussian exactly, of a mixture as the mean of -log q(z)."""
    if posterior.components == 1:
        constant = posterior.latent_dim * (1.0 + math.log(2.0 * math.pi))
        exact = 0.5 * (posterior.log_var[0].double().sum(-1) + constant)
        return exact.cpu().numpy()
    z, log_share = draw(posterior, items, config)
    return -(log_share.exp() * posterior.log_prob(z)).sum(0).cpu().numpy()
