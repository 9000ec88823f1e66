"""What no correct evaluation can violate; written to every JSON of results.

The paper's own Table 1 violates the first two (a joint likelihood above the marginal).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SMVAEError
from smvae_training.evaluate.likelihood.estimate import Estimates
from smvae_training.evaluate.likelihood.subsets import SubsetLikelihoods

#: Nats; float32 networks round log p(y|z) by less.
ROUNDING = 1e-4
#: Nats; float32 sums over the pixels of images are of the order of 30,000 nats.
PIXEL_ROUNDING = 0.5


class SanityError(SMVAEError, ValueError):
    """Estimates that contradict each other."""

    def __init__(self, method: str, failed: list[dict[str, Any]]) -> None:
        listed = "; ".join(
            f"{c['name']}: {c['worst']:.3g}, at most {c['tolerance']:.3g}" for c in failed
        )
        super().__init__(f"likelihoods of {method} contradict each other: {listed}")


@dataclass(frozen=True)
class Check:
    """One inequality, worst <= tolerance; a NaN fails."""

    name: str
    worst: float
    tolerance: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"passed": bool(self.worst <= self.tolerance)}


def sanity_checks(estimates: Estimates, *, require: bool = False) -> list[dict[str, Any]]:
    """Return {name, worst, tolerance, passed} of every check, worst over items.

    Args:
        estimates: Of one method.
        require: Raise instead of returning failed checks.

    Raises:
        SanityError: If `require` and a check fails.
    """
    log_p_y, samples = estimates.prior.log_p, estimates.config.samples
    found = []
    if estimates.discrete:
        found.append(Check("log p(y) <= 0", float(log_p_y.max()), ROUNDING))
    if estimates.prior.mass is not None:
        found.append(Check("sum of p(y) is 1", abs(estimates.prior.mass - 1.0), ROUNDING))
    for proposal, values in estimates.proposals.items():
        given = f"q(z|{proposal})"
        if estimates.discrete:
            excess = float((values.joint - values.marginal).max())
            found.append(Check(f"joint <= marginal, {given}", excess, ROUNDING))
            excess = float((values.joint - values.conditional).max())
            found.append(Check(f"joint <= conditional, {given}", excess, ROUNDING))
        gap = np.abs(values.conditional - (values.joint - log_p_y)).max()
        found.append(Check(f"conditional = joint - log p(y), {given}", float(gap), 1e-9))
        for key in ("ess_joint", "ess_marginal"):
            array = getattr(values, key)
            outside = float(np.maximum(1.0 - array, array - samples).max())
            found.append(Check(f"1 <= {key} <= K, {given}", outside, 1e-6 * samples))
    return _judged(estimates.method, found, require)


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
    ess = np.concatenate([s.ess for s in subsets])
    samples = estimates.config.samples
    outside = float(np.maximum(1.0 - ess, ess - samples).max())
    found = [
        Check("expected <= predictive, all modalities", _worst(together), PIXEL_ROUNDING),
        Check("expected <= predictive, each modality", _worst(alone), PIXEL_ROUNDING),
        Check("1 <= ess <= K", outside, 1e-6 * samples),
    ]
    return _judged(estimates.method, found, require)


def _worst(excess: list[NDArray[Any]]) -> float:
    return float(np.max(excess))


def _judged(method: str, found: list[Check], require: bool) -> list[dict[str, Any]]:
    results = [check.to_json() for check in found]
    failed = [c for c in results if not c["passed"]]
    if require and failed:
        raise SanityError(method, failed)
    return results
