"""A recording with latents and its bundle -> which can be made again, how late and how sure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smvae_core.bags import Bag, BagError, decoded
from smvae_core.bundle import Bundle
from smvae_core.fusion.engine import Engine, Stamps
from smvae_core.modality import require_messages, subset_name
from smvae_core.perceiver import Perceiver
from smvae_core.recorded_clock import RecordedClock
from smvae_core.runtime import Runtime
from smvae_core.settings import Settings
from smvae_training.audit.coverage import (
    Coverage,
    recorded_truths,
    teller,
)
from smvae_training.audit.options import AuditOptions
from smvae_training.audit.recording import Recording, latent_topic, read_recording
from smvae_training.audit.reproduce import TOLERANCE, Checked, Reproducer
from smvae_training.audit.samples import ListedSamples
from smvae_training.evaluate.bag.inputs import Input, by_topic, find_inputs
from smvae_training.evaluate.bag.parameter_files import read_parameters
from smvae_training.evaluate.bag.settings import node_settings
from smvae_training.evaluate.live.bag import Latent
from smvae_training.evaluate.progress import Stages

FORMAT = 1
#: Share of the latents whose samples must all be in the recording.
COMPLETE_SHARE = 0.99
#: A recorder may get a sample after the latent that was made of it, at most so much later.
GRACE_NS = 2_000_000_000
#: At most so many latents are listed one by one; their number is always given.
LISTED = 200


def audit(path: Path, bundle: Bundle | Path, options: AuditOptions | None = None) -> dict[str, Any]:
    """Check the latents of a recording against the samples that they list.

    Args:
        path: Folder of a rosbag2 bag, or one .mcap or .db3 file, with ~/latent.
        bundle: That the node ran.
        options: See `AuditOptions`.

    Returns:
        What `smvae audit --json` prints; `holds` is the verdict, `why_not` its reasons.

    Raises:
        BagError: If the recording cannot be used, or another bundle made its latents.
        BundleError: If the bundle cannot be used, or tells of no targets though some are named.
        ConfigError: If an option cannot be used.
    """
    options = options or AuditOptions()
    runtime, stages = Runtime(bundle), Stages()
    require_messages(runtime.modalities)
    with Bag(path, options.typestore) as bag:
        topic = latent_topic(bag, options.latent)
        with stages.stage("latents", bag.topics[topic].messages) as advance:
            recording = read_recording(bag, topic, advance)
        judged = _judged(bag, recording, runtime)
        settings = _settings(bag, recording, runtime, options)
        inputs = find_inputs(bag, runtime.modalities, settings)
        clock = RecordedClock.of(bag, list(by_topic(inputs)))
        truths, left_out = recorded_truths(
            bag, runtime.bundle, options.targets, simulated=clock.followed
        )
        coverage = Coverage(teller(runtime.bundle), truths) if truths else None
        found = _check(bag, judged, runtime, settings, inputs, clock, coverage, stages)
        numbers = _numbers(bag, recording, runtime, found, coverage, clock.followed)
        return numbers | {"targets_left_out": left_out}


def _judged(bag: Bag, recording: Recording, runtime: Runtime) -> list[Latent]:
    """Return the latents that carry a mean and that this bundle made, as far as that is known."""
    sha256 = runtime.bundle.sha256
    ours = [v for v in recording.latents if recording.models.get(v.generation, sha256) == sha256]
    if not ours:
        made = ", ".join(sorted({s[:12] for s in recording.models.values()}))
        what = f"its latents come from bundle {made}, {runtime.bundle.path} is {sha256[:12]}"
        raise BagError(bag.path, what)
    valid, names = [v for v in ours if v.valid], set(runtime.manifest.names)
    for latent in valid:
        if set(latent.states) != names or len(latent.mean) != runtime.manifest.latent_dim:
            raise BagError(
                bag.path,
                f"its latents are of {len(latent.mean)} numbers from {', '.join(latent.states)}; "
                f"{runtime.bundle.path} has {runtime.manifest.latent_dim} from "
                f"{', '.join(runtime.manifest.names)}",
            )
    if not valid:
        raise BagError(bag.path, f"none of its {len(ours)} latents is valid: nothing to check")
    return valid


def _settings(bag: Bag, recording: Recording, runtime: Runtime, options: AuditOptions) -> Settings:
    """Return the settings of the node that made the latents, as far as they are known."""
    given = dict(recording.settings)
    if options.params_file:
        given |= read_parameters(options.params_file, recording.node)[1]
    namespace = recording.node.rpartition("/")[0]
    return node_settings(
        runtime.modalities,
        given,
        declared=runtime.manifest.parameters(),
        topics=options.topics,
        namespace=namespace,
        there=bag.topics,
    )


def _check(
    bag: Bag,
    latents: Sequence[Latent],
    runtime: Runtime,
    settings: Settings,
    inputs: Sequence[Input],
    clock: RecordedClock,
    coverage: Coverage | None,
    stages: Stages,
) -> dict[str, list[Checked]]:
    """Feed the recorded samples through an engine; return what became of each latent, by subset."""
    sources = settings.sources | {i.modality.name: i.source for i in inputs}
    late_s = runtime.late_s(max(latent.memory_s for latent in latents))
    engine = Engine(runtime.modalities, settings.rules, settings.pace, sources, late_s=late_s)
    perceiver = Perceiver(runtime)
    perceiver.configure(sources)
    samples = ListedSamples(engine, perceiver, latents)
    reproducer = Reproducer(runtime, settings.rules, samples)
    found: dict[str, list[Checked]] = {}
    waiting = deque(sorted(latents, key=lambda v: v.received_ns))

    def judge(before_ns: int | None = None) -> None:
        while waiting and (before_ns is None or waiting[0].received_ns + GRACE_NS < before_ns):
            latent = waiting.popleft()
            subset = tuple(n for n in runtime.manifest.names if n in latent.fused)
            label = subset_name(subset)
            found.setdefault(label, []).append(reproducer.check(latent))
            samples.done(latent)
            if coverage is not None:
                rests_on = tuple(n for n in runtime.manifest.names if n in latent.rests_on)
                latent_of = latent.answers_ns, latent.mean, latent.variance
                coverage.add(label, rests_on, *latent_of, remembering=latent.memory_s > 0.0)

    now_ns = bag.begin_ns
    with stages.stage("samples", sum(i.messages for i in inputs)) as advance:
        wanted = by_topic(inputs)
        read = dict.fromkeys((*wanted, *clock.topics))
        for topic, received_ns, message in decoded(bag, list(read), lambda *_: advance(1)):
            judge(received_ns)
            if topic in clock.topics and clock.tick(message):
                engine.flush()
            now_ns = max(now_ns, received_ns)
            times = Stamps((now_ns - bag.begin_ns) * 1e-9, clock.at(now_ns))
            for each in wanted.get(topic, ()):
                samples.receive(each.modality.name, message, times)
                advance(1)
        judge()
    return found


def _numbers(
    bag: Bag,
    recording: Recording,
    runtime: Runtime,
    subsets: Mapping[str, list[Checked]],
    coverage: Coverage | None,
    simulated: bool,
) -> dict[str, Any]:
    """Return what was found; reception minus stamp is NaN where stamps are of another clock."""
    every = [checked for found in subsets.values() for checked in found]
    incomplete = [c for c in every if not c.complete]
    different = [c for c in every if c.complete and not c.equal]
    share = 1.0 - len(incomplete) / len(every)
    lacking = Counter(name for c in incomplete for name in c.missing)

    def late_ms(found: Iterable[Checked]) -> list[float]:
        return [] if simulated else [c.latent.stamp_to_received_ms for c in found]

    why_not = []
    if share < COMPLETE_SHARE:
        named = ", ".join(f"{name} {n} x" for name, n in lacking.most_common())
        why_not.append(
            f"the recording holds all samples of {share:.2%} of its latents, "
            f"{COMPLETE_SHARE:.0%} needed; it lacks {named}"
        )
    if different:
        why_not.append(
            f"{len(different)} of {len(every) - len(incomplete)} latents are not what their "
            f"samples give, within {TOLERANCE:g}"
        )
    return {
        "format": FORMAT,
        "bag": str(bag.path),
        "topic": recording.topic,
        "model": {"name": runtime.manifest.name, "sha256": runtime.bundle.sha256},
        "tolerance": TOLERANCE,
        "latents": {
            "recorded": len(recording.latents),
            "checked": len(every),
            "complete": len(every) - len(incomplete),
            "reproduced": sum(c.equal for c in every),
            "different": len(different),
        },
        "complete_share": share,
        "missing": dict(lacking.most_common()),
        "incomplete_latents": [_named(c) | {"missing": c.missing} for c in incomplete[:LISTED]],
        "different_latents": [_named(c) | _differences([c]) for c in different[:LISTED]],
        "stamp_to_received_ms": percentiles(late_ms(every)),
        "node_latency_ms": percentiles(1e3 * c.latent.node_latency_s for c in every),
        "subsets": {
            label: {
                "latents": len(found),
                "complete": sum(c.complete for c in found),
                "reproduced": sum(c.equal for c in found),
                **_differences(found),
                "stamp_to_received_ms": percentiles(late_ms(found)),
                "targets": coverage.of(label) if coverage is not None else {},
            }
            for label, found in subsets.items()
        },
        "holds": not why_not,
        "why_not": why_not,
    }


def _named(checked: Checked) -> dict[str, Any]:
    latent = checked.latent
    return {"stamp_ns": latent.stamp_ns, "epoch": latent.epoch, "sequence": latent.sequence}


def _differences(found: Iterable[Checked]) -> dict[str, float]:
    """Return the largest differences among those that could be made again; NaN of none."""
    complete = [c for c in found if c.complete]
    return {
        "mean_difference": max((c.mean_difference for c in complete), default=float("nan")),
        "variance_difference": max((c.variance_difference for c in complete), default=float("nan")),
    }


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """Return median, 99th percentile and largest of some values; NaN of none."""
    found = np.fromiter(values, np.float64)
    if not found.size:
        return dict.fromkeys(("p50", "p99", "max"), float("nan"))
    p50, p99 = np.percentile(found, (50, 99))
    return {"p50": float(p50), "p99": float(p99), "max": float(found.max())}
