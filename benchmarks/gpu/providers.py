"""Latents of the ordinary bundle on a provider: where nodes run, parity, time at batch 1."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SMVAEError
from smvae_core.graphs.sessions import PROVIDERS, Provider
from smvae_core.modality import subset_name
from smvae_core.runtime import Runtime
from smvae_core.subsets import evaluated_subsets

#: How far a latent may be from that of the CPU, in standard deviations of the posterior. GPUs
#: multiply in TF32, with 10 bits of mantissa.
PARITY = 0.05
WARM_UP = 20


class SilentFallback(SMVAEError, RuntimeError):
    """A session runs elsewhere than it was asked to, and nobody said so."""


def measure(
    bundle: Path, samples: Sequence[Mapping[str, NDArray[Any]]], provider: Provider
) -> dict[str, Any]:
    """Return what a provider makes of prepared samples, all sensors and each subset.

    Args:
        bundle: An ordinary bundle, as a robot loads it.
        samples: Prepared samples by sensor, one moment each.
        provider: Asked for without a fallback.

    Returns:
        `provider` and `nodes` as onnxruntime assigned them, `load_s`, `ms` (p50, p99) of each
        embedding and of the latent of all sensors, and means and variances of every subset.

    Raises:
        ConfigError: If the provider cannot be had.
        SilentFallback: If another one was used all the same.
    """
    began = time.perf_counter()
    runtime = Runtime(bundle, provider=provider)
    load_s = time.perf_counter() - began
    if runtime.provider != PROVIDERS[provider]:
        raise SilentFallback(f"{bundle}: asked for {provider}, got {runtime.provider}")
    names = runtime.manifest.names
    subsets = evaluated_subsets(names)
    took: dict[str, list[float]] = {name: [] for name in (*names, "latent")}
    means = np.zeros((len(samples), len(subsets), runtime.manifest.latent_dim))
    variances = np.zeros_like(means)
    for turn in range(-WARM_UP, len(samples)):
        sample = samples[turn % len(samples)]
        whole = 0.0
        for name in names:
            start = time.perf_counter()
            runtime.observe(name, sample[name], prepared=True)
            took[name].append(1e3 * (time.perf_counter() - start))
            whole += took[name][-1]
        start = time.perf_counter()
        runtime.posterior(names)
        took["latent"].append(whole + 1e3 * (time.perf_counter() - start))
        if turn < 0:
            continue
        for column, subset in enumerate(subsets):
            found = runtime.posterior(subset)
            means[turn, column], variances[turn, column] = found.mean, found.variance
    return {
        "provider": runtime.provider,
        "nodes": runtime.nodes,
        "load_s": load_s,
        "ms": {
            name: [float(q) for q in np.percentile(values[WARM_UP:], (50, 99))]
            for name, values in took.items()
        },
        "subsets": [subset_name(subset) for subset in subsets],
        "means": means,
        "variances": variances,
    }


def parity(exact: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """Return by subset the largest difference of a mean, in standard deviations of `exact`."""
    moved = np.abs(other["means"] - exact["means"]) / np.sqrt(exact["variances"])
    return dict(zip(exact["subsets"], moved.max(axis=(0, 2)).tolist(), strict=True))
