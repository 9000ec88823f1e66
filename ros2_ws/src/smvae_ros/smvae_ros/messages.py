"""Filling smvae_msgs from what the runtime and the collector say."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace

from builtin_interfaces.msg import Duration, Time
from smvae_msgs.msg import (
    Estimate,
    Estimates,
    LatentState,
    ModalityInfo,
    ModalityStatus,
    ModelInfo,
    Setting,
    Timing,
)

from smvae_core.bundle import DIAGONAL
from smvae_core.fusion.engine import Taken
from smvae_core.fusion.rules import FusionState, Observation
from smvae_core.fusion.rules import ModalityStatus as Status
from smvae_core.modality import Modality
from smvae_core.readout import Estimate as TargetEstimate
from smvae_core.renewed_novelty import Score
from smvae_core.runtime import Posterior, Runtime
from smvae_core.target import DecodedTarget


def to_time(stamp_ns: int) -> Time:
    """Return nanoseconds as builtin_interfaces/Time."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def to_duration(seconds: float) -> Duration:
    """Return seconds as builtin_interfaces/Duration; NaN becomes zero."""
    if not math.isfinite(seconds):
        return Duration()
    whole, nanoseconds = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(sec=whole, nanosec=nanoseconds)


class Statuses:
    """One status message per modality, made once and filled again for every latent.

    A new one of each would take longer than reading the message that asked.
    """

    def __init__(self, kinds: Mapping[str, str]) -> None:
        """Prepare.

        Args:
            kinds: Kind of each modality, in the model's order.
        """
        self._of = {name: ModalityStatus(name=name, kind=kind) for name, kind in kinds.items()}

    def fill(self, found: Mapping[str, Status], nll: Mapping[str, float]) -> list[ModalityStatus]:
        """Return the statuses, in the model's order.

        Args:
            found: What is known of each modality.
            nll: Where it is known [nats].
        """
        for name, status in found.items():
            message, fused = self._of[name], status.state == FusionState.FUSED
            message.state = int(status.state)
            message.held = status.held
            _set_time(message.stamp, status.stamp_ns)
            _set_duration(message.age, status.age_s)
            message.received = status.received
            message.rejected = status.rejected
            message.nll = nll.get(name, math.nan)
            message.elements = status.elements or int(fused)
            message.folded = status.folded
            _set_time(message.oldest, status.oldest_ns or (status.stamp_ns if fused else 0))
            message.suspect = status.suspect
            message.suspicion = status.suspicion
            message.reason = status.reason
            if status.further_ns or message.further_ns:
                message.further_ns = status.further_ns
        return list(self._of.values())


def _set_time(message: Time, stamp_ns: int) -> None:
    message.sec, message.nanosec = divmod(int(stamp_ns), 1_000_000_000)


def _set_duration(message: Duration, seconds: float) -> None:
    """Write a duration; NaN becomes zero."""
    nanoseconds = round(seconds * 1e9) if math.isfinite(seconds) else 0
    message.sec, message.nanosec = divmod(nanoseconds, 1_000_000_000)


def latent(
    observation: Observation,
    posterior: Posterior,
    statuses: Statuses,
    *,
    score: Score | None = None,
    novelty_error: float = math.nan,
    covariance: int = LatentState.DIAGONAL,
) -> LatentState:
    """Return a valid LatentState; the sequence, epoch and durations are the publisher's.

    Args:
        observation: What it was made from.
        posterior: Finite.
        statuses: Of the model's modalities; they are the next latent's too.
        score: Its novelty; None = not available.
        novelty_error: Above it the status is OUT_OF_DISTRIBUTION; NaN = never.
        covariance: See `covariance_form`.
    """
    enabled = [s for s in observation.status.values() if s.state != FusionState.DISABLED]
    complete = all(s.state == FusionState.FUSED for s in enabled)
    status = LatentState.OK if complete else LatentState.DEGRADED
    novelty = score.report.score if score is not None else math.nan
    nll = score.report.nll if score is not None else {}
    if novelty > novelty_error:  # never with NaN
        status = LatentState.OUT_OF_DISTRIBUTION
    message = LatentState(
        valid=True,
        status=status,
        mean=array("f", posterior.mean.tobytes()),
        variance=array("f", posterior.variance.tobytes()),
        kl=posterior.kl,
        novelty=novelty,
        modalities=statuses.fill(observation.status, nll),
        covariance=covariance,
    )
    _set_time(message.header.stamp, observation.reference_ns)
    if score is not None and not math.isnan(novelty):
        _set_time(message.novelty_stamp, score.stamp_ns)
    return message


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


def blind(
    status: int, stamp_ns: int, found: Mapping[str, Status], kinds: Mapping[str, str]
) -> LatentState:
    """Return a LatentState that carries no latent: NO_INPUT or ERROR.

    Args:
        status: One of the two.
        stamp_ns: The node's clock, which is also what `found` has its ages by.
        found: See `Mailbox.statuses`. Nothing entered a posterior that there is not: what could
            have been fused is shown as STALE.
        kinds: Kind of each modality.
    """
    unfused = {
        name: replace(s, state=FusionState.STALE, held=False, reason="no latent was made of it")
        if s.state == FusionState.FUSED
        else s
        for name, s in found.items()
    }
    message = LatentState(
        valid=False,
        status=status,
        kl=math.nan,
        novelty=math.nan,
        modalities=Statuses(kinds).fill(unfused, {}),
    )
    message.header.stamp = to_time(stamp_ns)
    return message


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
    return ModalityInfo(
        name=target.name,
        kind="binary" if target.binary else "vector",
        shape=[target.size],
        unit=target.unit,
        fields=list(target.names),
        scale=list(target.deviation),
        notes=f"frame {target.frame_id}" if target.frame_id else "",
    )
