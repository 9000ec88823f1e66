"""What a latent says of its model's targets: values, their covariance, or that it cannot tell.

numpy, and onnxruntime for the graph.

The decoder gives mean and variance of a target at one latent; a posterior is many. So with draws
z_j of it, a small fixed set in antithetic pairs,

    value = mean_j m(z_j)      covariance = mean_j diag(s^2(z_j)) + cov_j m(z_j)

and the covariance is scaled by what held-out errors say (`estimate_calibration`). A number is NaN
where it is not known, and `reason` says why. N latents, J draws, Z latent, K numbers of a target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smvae_core.bundle import TARGETS, Bundle
from smvae_core.errors import BundleError, ConfigError
from smvae_core.estimate_calibration import EstimateCalibration
from smvae_core.graphs.sessions import Placement, Sessions
from smvae_core.modality import subset_name
from smvae_core.readout import Estimate
from smvae_core.target import DecodedTarget

#: J, half of them drawn.
DRAWS = 16
#: An estimate with this share of the training records' deviation says no more than their mean.
LARGEST_DEVIATION = 1.0
Array = NDArray[np.float64]
#: Latents (N, Z) -> mean and log variance of all numbers of all targets, in the deviations of the
#: training records; logits of binary ones.
Decode = Callable[[NDArray[np.float32]], tuple[NDArray[np.floating], NDArray[np.floating]]]


@dataclass(frozen=True)
class Decoded:
    """One target of N posteriors, before calibration."""

    value: Array
    """(N, K) in the target's unit, probabilities of a binary one."""
    covariance: Array
    """(N, K, K), 0 of a binary one."""

    def take(self, rows: NDArray[np.int64]) -> Decoded:
        """Return those of some posteriors."""
        return Decoded(self.value[rows], self.covariance[rows])


class Estimates:
    """What a bundle says of its targets."""

    def __init__(
        self,
        targets: Sequence[DecodedTarget],
        calibration: EstimateCalibration,
        decode: Decode,
    ) -> None:
        """Take the parts; `of_bundle` finds those of a bundle."""
        self.targets = tuple(targets)
        self.calibration = calibration
        self._decode = decode

    @classmethod
    def of_bundle(cls, bundle: Bundle, sessions: Sessions | None = None) -> Estimates:
        """Return those of a bundle; its graph runs in one of `sessions`, or on the CPU.

        Raises:
            BundleError: If its model decodes no targets, or they were not calibrated.
        """
        calibration = bundle.estimate_calibration()
        return cls(bundle.manifest.targets, calibration, bundle_decoder(bundle, sessions))

    def apply(
        self,
        subset: Sequence[str],
        mean: ArrayLike,
        variance: ArrayLike,
        *,
        remembering: bool = False,
    ) -> dict[str, Estimate]:
        """Return what the latent of `subset` says of each target; names in the model's order.

        Args:
            subset: Modalities that it rests on: fused or remembered.
            mean: (Z,) posterior mean.
            variance: (Z,) posterior variance, not its logarithm.
            remembering: Whether the posterior is one with memory.

        Raises:
            ConfigError: If there is no calibration of that subset, or the latent is none.
        """
        z, spread = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
        if z.ndim != 1 or spread.shape != z.shape:
            raise ConfigError(
                f"estimates: expected mean and variance (Z,), got {z.shape} and {spread.shape}"
            )
        decoded = decode_targets(self.targets, self._decode, z[None], spread[None])
        found = {}
        for target in self.targets:
            value, covariance = decoded[target.name].value[0], decoded[target.name].covariance[0]
            deviation = np.sqrt(np.diagonal(covariance))
            factor = self.calibration.factor_of(
                subset, target.name, deviation, remembering=remembering
            )
            label = subset_name(tuple(subset))
            found[target.name] = calibrated(target, value, covariance, factor, label)
        return found


def unknown(target: DecodedTarget, reason: str) -> Estimate:
    """Return the estimate of a target of which nothing is known."""
    covariance = np.full((target.size, target.size), np.nan)
    return Estimate(value=covariance[0], std=covariance[0], covariance=covariance, reason=reason)


def calibrated(
    target: DecodedTarget, value: Array, covariance: Array, factor: Array, label: str
) -> Estimate:
    """Return the estimate of one target, NaN in those of its numbers that are not known.

    Args:
        target: Which one.
        value: (K,).
        covariance: (K, K) before calibration.
        factor: (K,) of the deviations.
        label: Name of the subset, for the reason.
    """
    scaled = covariance * np.outer(factor, factor)
    deviation = np.sqrt(np.diagonal(scaled))
    mute = np.isnan(factor)
    narrow = deviation < LARGEST_DEVIATION * np.array(target.deviation)  # NaN is not
    wide = ~mute & ~(narrow & np.isfinite(value))
    unknown, reasons = mute | wide, []
    for numbers, why in (
        (mute, f"{label} tells no more than the training mean"),
        (wide, "as unsure as the training records differ"),
    ):
        if numbers.any():
            names = ", ".join(np.array(target.names)[numbers])
            reasons.append(f"{names}: {why}")
    if target.binary:
        scaled = np.full_like(scaled, np.nan)
    scaled = np.where(unknown[:, None] | unknown[None, :], np.nan, scaled)
    return Estimate(
        value=np.where(unknown, np.nan, value),
        std=np.sqrt(np.diagonal(scaled)),
        covariance=scaled,
        reason="; ".join(reasons),
    )


def decode_targets(
    targets: Sequence[DecodedTarget], decode: Decode, mean: Array, variance: Array
) -> dict[str, Decoded]:
    """Return each target of N posteriors (N, Z), before calibration."""
    count, size = mean.shape
    z = mean + np.sqrt(variance) * _noise(size)[:, None]
    means, log_vars = decode(np.ascontiguousarray(z.reshape(-1, size), np.float32))
    means, log_vars = (
        np.asarray(a, np.float64).reshape(DRAWS, count, -1) for a in (means, log_vars)
    )
    found, first = {}, 0
    for target in targets:
        numbers = slice(first, first := first + target.size)
        found[target.name] = over_draws(target, means[..., numbers], log_vars[..., numbers])
    return found


def over_draws(target: DecodedTarget, means: Array, log_vars: Array) -> Decoded:
    """Return what J draws (J, N, K) of means and log variances, as of `Decode`, say together."""
    if target.binary:
        probability = (0.5 * (1.0 + np.tanh(0.5 * means))).mean(axis=0)
        return Decoded(probability, np.zeros((*probability.shape, target.size)))
    value = means.mean(axis=0)
    apart = means - value
    covariance = np.einsum("jnk,jnl->nkl", apart, apart) / len(means)
    covariance += np.exp(log_vars).mean(axis=0)[..., None] * np.eye(target.size)
    deviation = np.array(target.deviation)
    return Decoded(
        np.array(target.mean) + deviation * value, covariance * np.outer(deviation, deviation)
    )


@lru_cache(maxsize=8)
def _noise(size: int) -> Array:
    """Return J numbers of each latent dimension (J, Z), normal, of mean 0 and variance 1."""
    half = np.random.default_rng(0).standard_normal((DRAWS // 2, size))
    half /= np.sqrt(np.square(half).mean(axis=0))
    return np.concatenate([half, -half])


def bundle_decoder(bundle: Bundle, sessions: Sessions | None = None) -> Decode:
    """Return what runs the graph of a bundle's targets, in one of `sessions`, or on the CPU.

    Raises:
        BundleError: If its model decodes none.
    """
    if not bundle.manifest.targets:
        raise BundleError(
            bundle.path,
            "its model decodes no targets: train with --data.targets, or use its readout",
        )
    running = sessions or Sessions(bundle, Placement())
    running.open(TARGETS)

    def decode(z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mean, log_var = running.run(TARGETS, z=z)
        return mean, log_var

    return decode
