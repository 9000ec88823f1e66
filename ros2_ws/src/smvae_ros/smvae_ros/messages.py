"""Filling smvae_msgs from what the runtime and the collector say."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any

from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import CameraInfo
from smvae_msgs.msg import LatentState, ModalityInfo, ModalityStatus, ModelInfo

from smvae_core.conversions import CONVERTERS
from smvae_core.fusion import FusionState, Observation
from smvae_core.modality import Modality
from smvae_core.runtime import Posterior, Runtime

#: Conventions that no message carries, by kind.
NOTES = {
    "color_image": "RGB, whole frame resized",
    "depth_image": "metres along the optical axis, 0 = no return",
    "force_window": "one reading per ms, oldest first, in the sensor's own frame; "
    "sign, gravity and bias as in the training data",
    "vector": "displacement of one control step = twist x step time",
}


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


def statuses(observation: Observation, kinds: Mapping[str, str]) -> list[ModalityStatus]:
    """Return one status per modality, in the model's order."""
    return [
        ModalityStatus(
            name=name,
            kind=kinds[name],
            state=int(status.state),
            stamp=to_time(status.stamp_ns),
            age=to_duration(status.age_s),
            received=status.received,
            rejected=status.rejected,
            nll=math.nan,
        )
        for name, status in observation.status.items()
    ]


def latent(observation: Observation, posterior: Posterior, kinds: Mapping[str, str]) -> LatentState:
    """Return a valid LatentState; the sequence, epoch and durations are the publisher's."""
    enabled = [s for s in observation.status.values() if s.state != FusionState.DISABLED]
    complete = all(s.state == FusionState.FUSED for s in enabled)
    message = LatentState(
        valid=True,
        status=LatentState.OK if complete else LatentState.DEGRADED,
        mean=array("f", posterior.mean.tobytes()),
        variance=array("f", posterior.variance.tobytes()),
        kl=posterior.kl,
        novelty=math.nan,
        modalities=statuses(observation, kinds),
    )
    message.header.stamp = to_time(observation.reference_ns)
    return message


def blind(status: int, stamp_ns: int, modalities: list[ModalityStatus]) -> LatentState:
    """Return a LatentState that carries no latent: NO_INPUT or ERROR."""
    message = LatentState(
        valid=False, status=status, kl=math.nan, novelty=math.nan, modalities=modalities
    )
    message.header.stamp = to_time(stamp_ns)
    return message


def model_info(runtime: Runtime, generation: int, stamp_ns: int) -> ModelInfo:
    """Return the latched description of the loaded model."""
    manifest = runtime.manifest
    message = ModelInfo(
        generation=generation,
        name=manifest.name,
        version=manifest.version,
        sha256=runtime.bundle.sha256,
        latent_dim=manifest.latent_dim,
        modalities=[_modality_info(runtime, m) for m in manifest.modalities],
        novelty_warn=math.nan,
        novelty_error=math.nan,
        provider=runtime.provider,
        runtime_version=runtime.version,
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
        encoding=CONVERTERS[modality.kind].encoding,
        scale=[float(s) for s in runtime.manifest.statistics[modality.name].scale],
        notes=NOTES[modality.kind],
    )


def rescaled(info: CameraInfo, height: int, width: int, header: Any) -> CameraInfo:
    """Return a camera_info for the same view at another size, as image_proc's resize does."""
    x, y = width / max(info.width, 1), height / max(info.height, 1)
    k, p = list(info.k), list(info.p)
    for index, factor in ((0, x), (2, x), (4, y), (5, y)):
        k[index] *= factor
    for index, factor in ((0, x), (2, x), (3, x), (5, y), (6, y)):
        p[index] *= factor
    return CameraInfo(
        header=header,
        height=height,
        width=width,
        distortion_model=info.distortion_model,
        d=info.d,
        k=k,
        r=info.r,
        p=p,
    )
