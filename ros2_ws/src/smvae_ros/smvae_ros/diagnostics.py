"""DiagnosticArray: model, one entry per modality, inference, time."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from smvae_core.fusion import FusionState, ModalityStatus
from smvae_core.runtime import Runtime
from smvae_ros.inference import Inference
from smvae_ros.inputs import Inputs
from smvae_ros.messages import to_time
from smvae_ros.outputs import Outputs

_LEVELS = {
    FusionState.FUSED: DiagnosticStatus.OK,
    FusionState.DISABLED: DiagnosticStatus.OK,
    FusionState.ABSENT: DiagnosticStatus.WARN,
    FusionState.STALE: DiagnosticStatus.WARN,
    FusionState.REJECTED: DiagnosticStatus.ERROR,
}


def _entry(level: bytes, name: str, text: str, **values: Any) -> DiagnosticStatus:
    pairs = [KeyValue(key=k, value=_text(v)) for k, v in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, values=pairs)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def model(runtime: Runtime | None, reason: str) -> DiagnosticStatus:
    """Describe the loaded model, or why there is none."""
    if runtime is None:
        level = DiagnosticStatus.ERROR if reason else DiagnosticStatus.STALE
        return _entry(level, "model", reason or "not configured")
    return _entry(
        DiagnosticStatus.OK,
        "model",
        runtime.manifest.name,
        path=runtime.bundle.path,
        sha256=runtime.bundle.sha256,
        version=runtime.manifest.version,
        provider=runtime.provider,
        runtime=runtime.version,
    )


def modality(name: str, status: ModalityStatus, inputs: Inputs) -> DiagnosticStatus:
    """Describe one modality: state, rate, limits in force, rejections by reason, QoS."""
    level, text = _LEVELS[status.state], status.state.name
    mismatch = inputs.qos_mismatches.get(name, "")
    if mismatch:
        level, text = DiagnosticStatus.ERROR, mismatch
    period = status.period_s
    return _entry(
        level,
        f"modality {name}",
        text,
        topic=inputs.topics.get(name, ""),
        publishers=inputs.publishers(name),
        rate_hz=1.0 / period if period else 0.0,
        age_s=status.age_s,
        max_skew_s=status.max_skew_s,
        max_age_s=status.max_age_s,
        received=status.received,
        rejected=status.rejected,
        **{f"rejected: {k}": v for k, v in status.reject_reasons.items()},
    )


def inference(
    thread: Inference, outputs: Outputs, inputs: Inputs, active: bool
) -> DiagnosticStatus:
    """Describe the inference thread; dead while active is an ERROR."""
    timing = thread.timing
    level, text = DiagnosticStatus.OK, "running" if active else "not active"
    if thread.error is not None:
        level = DiagnosticStatus.ERROR
        text = f"stopped: {type(thread.error).__name__}: {thread.error}"
    elif outputs.not_finite or inputs.errors:
        level, text = DiagnosticStatus.WARN, "see not_finite and callback_errors"
    return _entry(
        level,
        "inference",
        text,
        published=timing.published,
        inference_p50_ms=timing.percentile_ms(timing.inference_s, 50),
        inference_p99_ms=timing.percentile_ms(timing.inference_s, 99),
        node_latency_p50_ms=timing.percentile_ms(timing.latency_s, 50),
        node_latency_p99_ms=timing.percentile_ms(timing.latency_s, 99),
        not_finite=outputs.not_finite,
        callback_errors=inputs.errors,
    )


def time_source(sim_time: bool, epoch: int, jumps: int) -> DiagnosticStatus:
    """Describe the clock and its jumps."""
    text = "simulated time" if sim_time else "system time"
    return _entry(DiagnosticStatus.OK, "time", text, epoch=epoch, jumps=jumps)


def to_array(
    entries: list[DiagnosticStatus], node_name: str, hardware: str, stamp_ns: int
) -> DiagnosticArray:
    """Return the entries as one message; names carry the node's full name, so namespaces differ."""
    for entry in entries:
        entry.name = f"{node_name.lstrip('/')}: {entry.name}"
        entry.hardware_id = hardware
    message = DiagnosticArray(status=entries)
    message.header.stamp = to_time(stamp_ns)
    return message
