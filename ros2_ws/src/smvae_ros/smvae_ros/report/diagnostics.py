"""The entries of /diagnostics: model, each modality, inference, latent, time, memory, GPU."""

from __future__ import annotations

import math
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from smvae_msgs.msg import LatentState
from smvae_msgs.msg import ModalityStatus as Told

from smvae_core.fusion.rules import FusionState, ModalityStatus, none_used
from smvae_ros.infer.session import Session
from smvae_ros.listen.inputs import Inputs
from smvae_ros.publish import messages
from smvae_ros.report import resources

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

_LEVELS = {
    FusionState.FUSED: OK,
    FusionState.DISABLED: OK,
    FusionState.ABSENT: WARN,
    FusionState.STALE: WARN,
    FusionState.REJECTED: ERROR,
    FusionState.REMEMBERED: WARN,
}
_LATENTS = {
    LatentState.OK: (OK, "every enabled modality is fused"),
    LatentState.DEGRADED: (OK, "some enabled modalities are not fused"),
    LatentState.OUT_OF_DISTRIBUTION: (ERROR, "out of distribution: novelty above its threshold"),
    LatentState.NO_INPUT: (WARN, "no input: nothing to fuse"),
    LatentState.ERROR: (ERROR, "inference failed"),
}


def _entry(level: bytes, name: str, text: str, /, **values: Any) -> DiagnosticStatus:
    pairs = [KeyValue(key=k, value=_text(v)) for k, v in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, values=pairs)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def model(
    session: Session | None, phase: str, failure: str, wanted: tuple[str, str]
) -> DiagnosticStatus:
    """Describe the loaded model, or why there is none.

    Args:
        session: None while unconfigured.
        phase: unconfigured, inactive, active or finalized.
        failure: Why the last transition failed; '' = it did not.
        wanted: Parameters `bundle` and `provider`.
    """
    bundle, provider = wanted
    if session is None:
        level = ERROR if failure else DiagnosticStatus.STALE
        text = failure or ("shut down" if phase == "finalized" else "not configured")
        return _entry(level, "model", text, state=phase, bundle=bundle, provider_wanted=provider)
    runtime = session.runtime
    level, text = (ERROR, failure) if failure else (OK, runtime.manifest.name)
    if not failure and not runtime.provider.lower().startswith(provider):
        level, text = WARN, f"runs on {runtime.provider}, not on {provider}: allow_cpu_fallback"
    return _entry(
        level,
        "model",
        text,
        state=phase,
        path=runtime.bundle.path,
        sha256=runtime.bundle.sha256,
        name=runtime.manifest.name,
        version=runtime.manifest.version,
        generation=session.generation,
        provider_wanted=provider,
        provider=runtime.provider,
        nodes=", ".join(f"{k} {n}" for k, n in runtime.nodes.items()) or "unknown",
        runtime=runtime.version,
        image_decoder=session.readers.image,
        image_decoder_note=session.readers.image_note,
        cloud_reader=session.readers.cloud,
        cloud_reader_note=session.readers.cloud_note,
    )


def modality(
    name: str,
    status: ModalityStatus,
    inputs: Inputs,
    active: bool,
    unheard: str = "",
    told: Told | None = None,
) -> DiagnosticStatus:
    """Describe one modality: state and why, rate, delay, limits in force, rejections, QoS.

    Of an inactive node nothing is wrong with it: nobody subscribes.

    Args:
        name: Of the modality.
        status: What the collector knows of it now.
        inputs: Of the session.
        active: Whether the node is.
        unheard: Why a publisher of it is not heard; '' = all are.
        told: What the newest latent said of it; None = there is none.
    """
    statistics = inputs.statistics[name]
    level, text = OK, "not active"
    if active:
        level = _LEVELS[status.state]
        text, fused = status.state.name, status.state is FusionState.FUSED
        if status.state in (FusionState.STALE, FusionState.REJECTED):
            text += f": {status.reason}"
        if fused and (status.reason or statistics.implausible):
            level, text = WARN, status.reason or statistics.implausible
        if told is not None and told.reason and fused and (told.suspect or not status.reason):
            level, text = ERROR if told.suspect else WARN, told.reason
        if lost := none_used(status, statistics.used):
            level, text = ERROR, lost
    if unheard:
        level, text = ERROR, unheard
    delays_ms = statistics.transport_delays_ms((50, 95))
    return _entry(
        level,
        f"modality {name}",
        text,
        state=status.state.name,
        reason=status.reason,
        suggested_stamp_offset_s=status.suggested_offset_s,
        topic=inputs.topics.get(name, ""),
        settings_from=inputs.settings_from.get(name, ""),
        publishers=inputs.publishers(name),
        rate_hz=inputs.rate_hz(name),
        period_s=status.period_s if status.period_s is not None else math.nan,
        age_s=status.age_s,
        lag_s=status.lag_s,
        transport_delay_p50_ms=delays_ms[0],
        transport_delay_p95_ms=delays_ms[1],
        max_skew_s=status.max_skew_s,
        max_age_s=status.max_age_s,
        held=status.held,
        received=status.received,
        rejected=status.rejected,
        left_out_of_memory=status.left_out,
        implausible=statistics.implausible_samples,
        suspect=told is not None and told.suspect,
        suspicion=told.suspicion if told is not None else math.nan,
        **{f"rejected: {k}": v for k, v in status.reject_reasons.items()},
    )


def inference(session: Session, active: bool) -> DiagnosticStatus:
    """Describe the inference thread; one that died or hangs is an ERROR."""
    thread, outputs = session.inference, session.outputs
    level, text = OK, "running" if active else "not active"
    if thread.failure:
        level, text = ERROR, thread.failure
    elif session.inputs.errors:
        level, text = WARN, "see callback_errors and the log"
    return _entry(
        level,
        "inference",
        text,
        published=outputs.latencies.published,
        **outputs.latencies.summary(),
        missed_triggers=session.mailbox.missed,
        callback_errors=session.inputs.errors,
    )


def latent(session: Session) -> DiagnosticStatus:
    """Describe the newest latent: what was fused, how unusual it is, what was no number."""
    outputs, last = session.outputs, session.outputs.last
    warn, error = messages.novelty_thresholds(session.runtime)
    if last is None:
        return _entry(OK, "latent", "none yet", not_finite=outputs.not_finite)
    level, text = _LATENTS[last.status]
    if level == OK and last.novelty > warn:
        level, text = WARN, "unusual: novelty above its warning threshold"
    if level == OK and outputs.not_finite:
        level, text = WARN, "the model's output was not finite, see not_finite"
    states = {s.name: s.state for s in last.modalities if last.valid}
    fused = [name for name, state in states.items() if state == FusionState.FUSED]
    remembered = [name for name, state in states.items() if state == FusionState.REMEMBERED]
    return _entry(
        level,
        "latent",
        text,
        fused=", ".join(fused) or "nothing",
        remembered=", ".join(remembered) or "nothing",
        suspect=", ".join(s.name for s in last.modalities if s.suspect) or "nothing",
        valid=last.valid,
        kl=last.kl,
        novelty=last.novelty,
        most_unusual=outputs.most_unusual,
        novelty_warn=warn,
        novelty_error=error,
        not_finite=outputs.not_finite,
        epoch=last.epoch,
        sequence=last.sequence,
    )


def time_source(
    sim_time: bool, clock_ns: int, epoch: int, jumps: int, stamp_to_published_s: float
) -> DiagnosticStatus:
    """Describe the clock and its jumps.

    Args:
        sim_time: Parameter `use_sim_time`.
        clock_ns: What the node's clock says.
        epoch: Of the newest samples.
        jumps: Time jumps while active, of the clock or of a topic's stamps.
        stamp_to_published_s: Of the newest latent, by the host's clock; NaN in simulated time.
    """
    level, text = OK, "simulated time" if sim_time else "system time"
    if sim_time and clock_ns == 0:
        level, text = WARN, "use_sim_time is on and nothing came on /clock"
    return _entry(
        level,
        "time",
        text,
        use_sim_time=sim_time,
        clock_s=clock_ns * 1e-9,
        epoch=epoch,
        jumps=jumps,
        host_clock_minus_stamp_s=stamp_to_published_s,
    )


def memory() -> DiagnosticStatus:
    """Describe what the process holds."""
    values = resources.memory_mb()
    text = f"{values['resident_mb']:.0f} MB" if values else "unknown: no /proc here"
    return _entry(OK, "memory", text, **values, threads=resources.threads())


def gpu(device: resources.Gpu) -> DiagnosticStatus:
    """Describe the GPU, or that there is none."""
    values = device.read()
    return _entry(OK, "gpu", device.missing or str(values.get("name", "GPU")), **values)


def to_array(
    entries: list[DiagnosticStatus], node_name: str, hardware: str, stamp_ns: int
) -> DiagnosticArray:
    """Return the entries as one message; names carry the node's full name, so namespaces differ."""
    for entry in entries:
        entry.name = f"{node_name.lstrip('/')}: {entry.name}"
        entry.hardware_id = hardware
    message = DiagnosticArray(status=entries)
    message.header.stamp = messages.to_time(stamp_ns)
    return message
