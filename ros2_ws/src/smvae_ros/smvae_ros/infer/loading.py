"""From the bundle parameter to a runtime that was verified and has run every subset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from smvae_core.bundle import Bundle
from smvae_core.errors import BundleError, ConfigError, SMVAEError
from smvae_core.modality import require_messages, subset_name
from smvae_core.runtime import Runtime
from smvae_core.subsets import evaluated_subsets
from smvae_ros.bundle_path import resolve


class Interrupted(SMVAEError, RuntimeError):
    """Loading was given up because the process is to end."""

    def __init__(self) -> None:
        super().__init__("given up: the process was told to end")


def verified(path: str, sha256: str) -> Bundle:
    """Return the bundle a parameter names, its hashes checked.

    Args:
        path: Value of parameter `bundle`.
        sha256: Value of parameter `bundle_sha256`; empty = any.

    Raises:
        BundleError: If it is missing, incomplete, tampered with or newer than this code.
        ConfigError: If the path is not absolute, its manifest has another hash, or this node has no
            conversion for one of its modalities.
    """
    bundle = Bundle.load(resolve(path))
    require_messages(bundle.manifest.modalities)
    if sha256 and sha256 != bundle.sha256:
        raise ConfigError(
            f"bundle {bundle.path} has SHA-256 {bundle.sha256}, expected {sha256}: give its own as "
            "bundle_sha256, or an empty one to take any bundle"
        )
    return bundle


def load(bundle: Bundle, values: Mapping[str, Any], stopping: Callable[[], bool]) -> Runtime:
    """Return the runtime of a bundle, on the provider that was asked for, warm for every subset.

    Args:
        bundle: See `verified`.
        values: Parameters of the node: provider, allow_cpu_fallback, threads, device_id,
            gpu_mem_limit_mb.
        stopping: Says whether to give up; asked between steps.

    Raises:
        BundleError: If a graph cannot be loaded or run.
        ConfigError: If the provider cannot be had, or a network would run elsewhere.
        Interrupted: If `stopping` says so.
    """
    if stopping():
        raise Interrupted
    runtime = Runtime(
        bundle,
        provider=values["provider"],
        allow_cpu_fallback=values["allow_cpu_fallback"],
        threads=values["threads"],
        device_id=values["device_id"],
        gpu_mem_limit_mb=values["gpu_mem_limit_mb"],
    )
    warm_up(runtime, stopping)
    return runtime


def warm_up(runtime: Runtime, stopping: Callable[[], bool]) -> None:
    """Run every subset, its novelty and every decoder on examples, so that no first run is live.

    Raises:
        BundleError: If a network cannot be run, or gives numbers that are not finite.
        ConfigError: If its estimates lack the calibration of a subset.
        Interrupted: If `stopping` says so.
    """
    step = "its examples"
    try:
        for modality in runtime.modalities:
            step = f"network embed/{modality.name}"
            runtime.observe(modality.name, modality.example_sample())
        for subset in evaluated_subsets(runtime.manifest.names):
            if stopping():
                raise Interrupted
            step = f"subset {subset_name(subset)}"
            posterior = runtime.posterior(subset)
            _require_finite(runtime, step, posterior.mean, posterior.log_var)
            runtime.novelty(subset, posterior)
            if runtime.estimates is not None:
                runtime.estimates.apply(subset, posterior.mean, posterior.variance)
        if runtime.recall is not None:
            step = "memory"
            posterior = runtime.try_out_memory()
            _require_finite(runtime, step, posterior.mean, posterior.log_var)
        for modality in runtime.modalities:
            step = f"network decode/{modality.name}"
            _require_finite(runtime, step, runtime.decode(modality.name, posterior.mean))
            runtime.forget(modality.name)
    except SMVAEError:
        raise
    except Exception as err:  # onnxruntime raises its own untyped errors
        raise BundleError(runtime.bundle.path, f"{step} cannot be run: {err}") from err


def _require_finite(runtime: Runtime, step: str, *arrays: Any) -> None:
    if not all(np.isfinite(a).all() for a in arrays):
        raise BundleError(
            runtime.bundle.path, f"{step} gives numbers that are not finite on an example: retrain"
        )
