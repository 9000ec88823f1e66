"""Filling smvae_msgs from what the runtime and the collector say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from builtin_interfaces.msg import Duration, Time
from smvae_msgs.msg import (
    Estimate,
    Estimates,
    LatentState,
    ModalityInfo,
    ModelInfo,
    Setting,
    Timing,
)

from smvae_core.bundle import DIAGONAL
from smvae_core.fusion.engine import Taken
from smvae_core.messages import time_fields
from smvae_core.modality import Modality
from smvae_core.readout import Estimate as TargetEstimate
from smvae_core.runtime import Runtime
from smvae_core.target import DecodedTarget


def to_time(stamp_ns: int) -> Time:
    """Return nanoseconds as builtin_interfaces/Time, see `time_fields`."""
    seconds, nanoseconds = time_fields(int(stamp_ns))
    return Time(sec=seconds, nanosec=nanoseconds)


def duration_fields(seconds: float) -> tuple[int, int]:
    """Return seconds and nanoseconds of a message, see `time_fields`; what is not finite: zero."""
    return time_fields(round(seconds * 1e9)) if math.isfinite(seconds) else (0, 0)


def to_duration(seconds: float) -> Duration:
    """Return seconds as builtin_interfaces/Duration; NaN becomes zero."""
    whole, nanoseconds = duration_fields(seconds)
    return Duration(sec=whole, nanosec=nanoseconds)


def estimates(
    latent: LatentState, targets: Sequence[DecodedTarget], found: Mapping[str, TargetEstimate]
) -> Estimates:
    """Return what a latent says of the model's targets, in their order.

    Args:
        latent: As published.
        targets: Of the model.
        found: By target; see `smvae_core.estimates`.
    """
    return Estimates(
        header=latent.header,
        epoch=latent.epoch,
        sequence=latent.sequence,
        model_generation=latent.model_generation,
        predict_ahead=latent.predict_ahead,
        targets=[_estimate(target, found[target.name]) for target in targets],
    )


def _estimate(target: DecodedTarget, found: TargetEstimate) -> Estimate:
    mean = found.value.tolist()
    return Estimate(
        name=target.name,
        unit=target.unit,
        frame_id=target.frame_id,
        fields=list(target.names),
        binary=target.binary,
        known=all(map(math.isfinite, mean)),
        mean=mean,
        covariance=found.covariance.ravel().tolist(),
        reason=found.reason,
    )


def timing(
    latent: LatentState,
    taken: Taken,
    inferred_s: float,
    published_s: float,
    published_ns: int,
    stamp_to_published_s: float,
) -> Timing:
    """Return where the time of a latent went.

    Args:
        latent: As published.
        taken: What it was made from.
        inferred_s: Steady time at which its posterior was there.
        published_s: Steady time right after publishing.
        published_ns: The same moment by the system clock.
        stamp_to_published_s: That moment minus the latent's stamp; NaN in simulated time.
    """
    inference_s = latent.inference_time.sec + latent.inference_time.nanosec * 1e-9
    waiting_s = max(inferred_s - inference_s - taken.arrival_s, 0.0)
    return Timing(
        header=latent.header,
        epoch=latent.epoch,
        sequence=latent.sequence,
        trigger=taken.trigger,
        source=to_time(taken.source_ns),
        received=to_time(taken.received_ns),
        published=to_time(published_ns),
        waiting=to_duration(waiting_s),
        inference=latent.inference_time,
        publishing=to_duration(published_s - inferred_s),
        node_latency=to_duration(published_s - taken.arrival_s),
        stamp_to_published_s=stamp_to_published_s,
    )


def novelty_thresholds(runtime: Runtime) -> tuple[float, float]:
    """Return the (warn, error) thresholds of LatentState.novelty; NaN where not calibrated."""
    novelty = runtime.manifest.novelty
    return (novelty.warn, novelty.error) if novelty is not None else (math.nan, math.nan)


def covariance_form(runtime: Runtime) -> int:
    """Return what the variances of a model's latents are: LatentState.DIAGONAL or MARGINALS."""
    diagonal = runtime.manifest.covariance == DIAGONAL
    return int(LatentState.DIAGONAL if diagonal else LatentState.MARGINALS)


def model_info(
    runtime: Runtime, generation: int, stamp_ns: int, settings: Sequence[Setting] = ()
) -> ModelInfo:
    """Return the latched description of the loaded model, with the node's settings."""
    manifest = runtime.manifest
    warn, error = novelty_thresholds(runtime)
    message = ModelInfo(
        generation=generation,
        name=manifest.name,
        version=manifest.version,
        sha256=runtime.bundle.sha256,
        latent_dim=manifest.latent_dim,
        modalities=[_modality_info(runtime, m) for m in manifest.modalities],
        novelty_warn=warn,
        novelty_error=error,
        provider=runtime.provider,
        runtime_version=runtime.version,
        robot=manifest.robot.name if manifest.robot is not None else "",
        targets=list(map(_target_info, manifest.targets)),
        settings=list(settings),
    )
    message.header.stamp = to_time(stamp_ns)
    return message


def _modality_info(runtime: Runtime, modality: Modality) -> ModalityInfo:
    return ModalityInfo(
        name=modality.name,
        kind=modality.kind,
        shape=list(modality.shape),
        unit=modality.unit,
        fields=list(modality.fields),
        encoding=modality.converter().encoding,
        scale=[float(s) for s in runtime.manifest.statistics[modality.name].scale],
        notes=modality.family.notes(modality),
        rate_hz=float(getattr(modality.options, "rate_hz", 0.0)),
        window_s=modality.family.span_s(modality),
    )


def _target_info(target: DecodedTarget) -> ModalityInfo:
    frame = f"frame {target.frame_id}" if target.frame_id else ""
    return ModalityInfo(
        name=target.name,
        kind="binary" if target.binary else "vector",
        shape=[target.size],
        unit=target.unit,
        fields=list(target.names),
        scale=list(target.deviation),
        notes="; ".join(note for note in (frame, target.rule) if note),
    )
