"""What no correct evaluation of subsets can violate.

Bernoulli and categorical likelihoods are at most 1, also of levels between 0 and 1; so with shared
samples all modalities together are at most as likely as each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from smvae_core.modality import Modality
from smvae_training.evaluate.likelihood.checks import Check, SanityError
from smvae_training.evaluate.likelihood.subsets import SubsetLikelihoods

#: Share of a likelihood by which float32 sums over thousands of pixels round.
ROUNDING = 1e-5


def subset_checks(
    found: SubsetLikelihoods, modalities: Sequence[Modality], *, require: bool = False
) -> list[dict[str, Any]]:
    """Return {name, worst, tolerance, passed} of every check, worst over items and subsets.

    Args:
        found: Of one method.
        modalities: Those of the method.
        require: Raise instead of returning failed checks.

    Raises:
        SanityError: If `require` and a check fails.
    """
    bounded = all(m.likelihood in ("bernoulli", "categorical") for m in modalities)
    scores = list(found.subsets.values())
    worst: dict[str, float] = {}
    for name in found.names:
        for s in scores:
            key = f"E log p({name}|z) <= log E p({name}|z)"  # Jensen's inequality
            _keep(worst, key, _excess(s.expected[name], s.each[name]))
            if bounded:
                key = f"log p(all|S) <= log p({name}|S)"
                _keep(worst, key, _excess(s.predictive, s.each[name]))
    samples = found.config.samples
    ess = np.concatenate([s.ess for s in scores])
    outside = float(np.maximum(1.0 - ess, ess - samples).max())
    checks = [Check(name, value, ROUNDING) for name, value in worst.items()]
    checks.append(Check("1 <= ess <= K", outside, 1e-6 * samples))
    results = [check.to_json() for check in checks]
    failed = [c for c in results if not c["passed"]]
    if require and failed:
        raise SanityError(found.method, failed)
    return results


def _excess(smaller: np.ndarray, larger: np.ndarray) -> float:
    """Return by how much `smaller` exceeds `larger` at most, as a share of its size."""
    return float(((smaller - larger) / np.maximum(np.abs(larger), 1.0)).max())


def _keep(worst: dict[str, float], name: str, value: float) -> None:
    worst[name] = value if name not in worst else float(np.maximum(worst[name], value))
