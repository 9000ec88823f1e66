"""What no correct evaluation can violate; written to every JSON of results.

The paper's own Table 1 violates the first two (a joint likelihood above the marginal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SMVAEError
from smvae_core.modality import Modality
from smvae_training.evaluate.likelihood.estimate import Estimates
from smvae_training.evaluate.likelihood.subsets import SubsetLikelihoods

#: Nats; float32 networks round log p(y|z) by less.
ROUNDING = 1e-4
#: Share of a likelihood by which float32 sums over thousands of pixels round.
SHARE_ROUNDING = 1e-5


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
        found += [
            _between(f"1 <= {key} <= K, {given}", getattr(values, key), samples)
            for key in ("ess_joint", "ess_marginal")
        ]
    return judged(estimates.method, found, require)


def subset_checks(
    found: SubsetLikelihoods, modalities: Sequence[Modality], *, require: bool = False
) -> list[dict[str, Any]]:
    """Return {name, worst, tolerance, passed} of every check, worst over items and subsets.

    Bernoulli and categorical likelihoods are at most 1, also of levels between 0 and 1; so with
    shared samples all modalities together are at most as likely as each of them.

    Args:
        found: Of one method.
        modalities: Those of the method.
        require: Raise instead of returning failed checks.

    Raises:
        SanityError: If `require` and a check fails.
    """
    scores = found.subsets.values()
    bounded = all(m.likelihood in ("bernoulli", "categorical") for m in modalities)
    checks = []
    for name in found.names:  # the first is Jensen's inequality
        worst = {f"E log p({name}|z) <= log E p({name}|z)": [(s.expected, s) for s in scores]}
        if bounded:
            worst[f"log p(all|S) <= log p({name}|S)"] = [({name: s.predictive}, s) for s in scores]
        for key, pairs in worst.items():
            excess = [_excess(smaller[name], s.each[name]) for smaller, s in pairs]
            checks.append(Check(key, float(np.max(excess)), SHARE_ROUNDING))
    return judged(found.method, [*checks, ess_check(found)], require)


def ess_check(found: SubsetLikelihoods) -> Check:
    """Return the check that effective samples lie between 1 and K."""
    samples, ess = found.config.samples, np.concatenate([s.ess for s in found.subsets.values()])
    return _between("1 <= ess <= K", ess, samples)


def _between(name: str, ess: NDArray[Any], samples: int) -> Check:
    outside = float(np.maximum(1.0 - ess, ess - samples).max())
    return Check(name, outside, 1e-6 * samples)


def _excess(smaller: NDArray[Any], larger: NDArray[Any]) -> float:
    """Return by how much `smaller` exceeds `larger` at most, as a share of its size."""
    return float(((smaller - larger) / np.maximum(np.abs(larger), 1.0)).max())


def judged(method: str, found: list[Check], require: bool) -> list[dict[str, Any]]:
    """Return the checks for JSON, or raise where some fail and all are required.

    Raises:
        SanityError: If `require` and a check fails.
    """
    results = [check.to_json() for check in found]
    failed = [c for c in results if not c["passed"]]
    if require and failed:
        raise SanityError(method, failed)
    return results
