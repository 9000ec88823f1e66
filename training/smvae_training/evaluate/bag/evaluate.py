"""A bag and a bundle -> latents.npz, summary.json, report.html, contact sheet and video."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smvae_core.bags import Bag, BagError
from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError
from smvae_core.files import write_bytes
from smvae_core.runtime import Runtime
from smvae_core.settings import Settings, check_memory
from smvae_core.subsets import evaluated_subsets
from smvae_training.audit.audit import audit
from smvae_training.audit.coverage import Coverage, recorded_truths, teller
from smvae_training.audit.coverage import Truth as RecordedTruth
from smvae_training.audit.options import AuditOptions
from smvae_training.evaluate.bag import numbers
from smvae_training.evaluate.bag.gather import Gatherer
from smvae_training.evaluate.bag.inputs import Input, find_inputs
from smvae_training.evaluate.bag.moments import Moments, subset_table
from smvae_training.evaluate.bag.options import BagOptions
from smvae_training.evaluate.bag.outage import (
    Outage,
    binned,
    coverage_numbers,
    inside_90,
    outage_numbers,
    rows_by_subset,
    since_loss_s,
)
from smvae_training.evaluate.bag.parameter_files import read_parameters
from smvae_training.evaluate.bag.pictures import Video, contact_sheet
from smvae_training.evaluate.bag.replay import BagReplay, Moment
from smvae_training.evaluate.bag.scores import Pair, Scores, Truth
from smvae_training.evaluate.bag.sections import bag_sections
from smvae_training.evaluate.bag.settings import node_settings
from smvae_training.evaluate.measures import images
from smvae_training.evaluate.progress import Stages
from smvae_training.evaluate.report.html import render_report
from smvae_training.evaluate.results import write_json
from smvae_training.run import write_arrays

logger = logging.getLogger(__name__)

FORMAT = 1
LATENTS, SUMMARY, REPORT = "latents.npz", "summary.json", "report.html"
SHEET, VIDEO = "contact_sheet.png", "predictions.mp4"


def evaluate_bag(
    path: Path, bundle: Path, out: Path, options: BagOptions | None = None
) -> dict[str, Any]:
    """Replay a bag offline and write what the model made of it.

    The same bag, bundle and options give the same latents.npz, byte for byte.

    Args:
        path: Folder of a rosbag2 bag, or one .mcap or .db3 file.
        bundle: Exported model.
        out: Folder to write, made if missing.
        options: See `BagOptions`.

    Returns:
        What summary.json holds.

    Raises:
        BagError: If the bag cannot be used.
        BundleError: If the bundle cannot be used.
        ConfigError: If an option cannot be used.
        UnknownModality: If an option names none of the bundle's.
    """
    options = options or BagOptions()
    runtime = Runtime(bundle)
    if options.memory_s and runtime.recall is None:
        logger.warning("memory_s %g has no effect: %s has no memory", options.memory_s, bundle)
    node, given = options.node, dict[str, Any]()
    if options.params_file:
        node, given = read_parameters(options.params_file, options.node)
    with Bag(path, options.typestore) as bag:
        settings = node_settings(
            runtime.modalities,
            given,
            declared=runtime.manifest.parameters(),
            topics=options.topics,
            drop=options.dropped,
            trigger=options.trigger,
            max_rate_hz=options.max_rate_hz,
            memory_s=options.memory_s,
            predict_ahead_s=options.predict_ahead_s,
            namespace=node.rpartition("/")[0],
            there=bag.topics,
        )
        ahead = {"predict_ahead_s": settings.predict_ahead_s}
        if reason := check_memory(ahead, runtime.recall is not None):
            raise ConfigError(reason)
        return _evaluate(bag, runtime, settings, out, options)


@dataclass(frozen=True, kw_only=True)
class _Played:
    """A bag, replayed."""

    bag: Bag
    replay: BagReplay
    inputs: list[Input]
    outages: list[Outage]
    truth: Truth
    scores: Scores
    moments: Moments
    recorded: Mapping[str, RecordedTruth]
    """Targets that were recorded beside."""
    left_out: Mapping[str, str]
    """Why others are not compared."""
    video: Mapping[str, Any]
    """Of summary.json."""


def _evaluate(
    bag: Bag, runtime: Runtime, settings: Settings, out: Path, options: BagOptions
) -> dict[str, Any]:
    """Replay, and write numbers, contact sheet and report; return the numbers."""
    stages = Stages()
    played = _play(bag, runtime, settings, out, options, stages)
    columns = played.scores.arrays()
    table, sensors = dict[str, Any](), dict[str, Any]()
    if options.subsets == "all":
        value = played.moments.value()
        with stages.stage("subsets", len(evaluated_subsets(runtime.manifest.names))) as advance:
            table = subset_table(played.moments.kept, runtime, value, advance)
        sensors = value.numbers() if value.names else {}
    write_arrays(out / LATENTS, columns)
    summary = _numbers(played, columns) | {
        "settings": _settings(settings, options),
        "subsets": table,
        "sensors": sensors,
        "suspects": numbers.suspect_numbers(
            columns, runtime.manifest.names, played.scores.charges, bag.begin_ns
        ),
        "targets": _targets(runtime, columns, played.recorded),
        "targets_left_out": played.left_out,
        "outages": _outages(played, columns),
        "live": _audited(bag.path, runtime.bundle, options),
        "subset_every": played.moments.every,
        "video": played.video,
        "seconds": stages.seconds,
    }
    write_json(out / SUMMARY, summary)
    sheet = None
    if images(runtime.modalities):
        sheet = contact_sheet(runtime.modalities, played.moments.kept, bag.begin_ns)
        write_bytes(out / SHEET, sheet)
    render_report(
        out / REPORT,
        title=f"Bag {bag.path.name}",
        subtitle=f"{len(played.scores)} latents of {runtime.manifest.name}, offline",
        sections=bag_sections(summary, columns, runtime.modalities, sheet),
    )
    return summary


def _play(
    bag: Bag,
    runtime: Runtime,
    settings: Settings,
    out: Path,
    options: BagOptions,
    stages: Stages,
) -> _Played:
    """Replay a bag, and gather scores, moments and the video on the way.

    Raises:
        BagError: If not one latent came of it.
        ConfigError: If an outage cannot be.
    """
    inputs = find_inputs(bag, runtime.modalities, settings)
    outages = [Outage.parse(text, runtime.modalities) for text in options.outage]
    for outage in outages:
        outage.check_within(bag.duration_s)
    lost = tuple(m for m in runtime.modalities if any(m.name in o.sensors for o in outages))
    dropped = (lambda name, s: any(o.drops(name, s) for o in outages)) if outages else None
    replay = BagReplay(bag, runtime, settings, inputs, dropped)
    truth = Truth(runtime.modalities, replay.perceiver)
    twin = Runtime(runtime.bundle) if options.subsets == "all" else None
    moments, scores = Moments(options.moments, twin), Scores(runtime, truth)
    recorded, left_out = recorded_truths(
        bag, runtime.bundle, options.targets, simulated=replay.simulated
    )
    _make_folder(out)
    pictured = bool(images(runtime.modalities))
    video = Video(out / VIDEO) if options.video and pictured else None

    def sure(moment: Moment, truths: Mapping[str, Pair]) -> dict[str, float]:
        posterior = moment.perceived.posterior
        return {
            f"{m.name}_inside_90": inside_90(runtime, m, posterior, truths[m.name])
            if m.name in truths and m.likelihood == "gaussian"
            else float("nan")
            for m in lost
        }

    gatherer = Gatherer(scores, moments, truth, begin_ns=bag.begin_ns, video=video, further=sure)
    with stages.stage("replay", sum(i.messages for i in inputs)) as advance:
        replay.run(gatherer, advance)
    written = video is not None and video.close()
    if not len(scores):
        raise BagError(bag.path, f"not one latent came of it: {replay.why_none()}")
    return _Played(
        bag=bag,
        replay=replay,
        inputs=inputs,
        outages=outages,
        truth=truth,
        scores=scores,
        moments=moments,
        recorded=recorded,
        left_out=left_out,
        video={
            "file": VIDEO if written else "",
            "frames": video.frames if video and written else 0,
            "why_not": video.why_not if video else _why_no_video(pictured),
        },
    )


def _numbers(played: _Played, columns: numbers.Columns) -> dict[str, Any]:
    """Return the part of summary.json that is about the bag, the model and the latents."""
    bag, replay, inputs = played.bag, played.replay, played.inputs
    runtime, unreadable = replay.runtime, played.truth.bad
    statuses = replay.engine.collector.observe(replay.seconds(bag.end_ns)).status
    counts = {
        i.modality.name: {"messages": i.messages, "unreadable": unreadable.get(i.modality.name, 0)}
        for i in inputs
    }
    manifest, modalities = runtime.manifest, runtime.modalities
    of_modalities = numbers.modality_numbers(columns, modalities, statuses, counts)
    fused = {name: found["states"]["fused"] for name, found in of_modalities.items()}
    return {
        "format": FORMAT,
        "bag": {
            "path": str(bag.path),
            "seconds": bag.duration_s,
            "begin_ns": bag.begin_ns,
            "messages_used": replay.messages,
            "out_of_order": replay.late,
            "topics": [
                {"name": t.name, "type": t.message_type, "messages": t.messages}
                for t in bag.topics.values()
            ],
        },
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "sha256": runtime.bundle.sha256,
            "runtime": runtime.version,
        },
        "latents": numbers.latent_numbers(columns, manifest.names)
        | {"not_finite": replay.not_finite}
        | numbers.novelty_shares(columns, manifest.novelty),
        "warnings": numbers.losses(inputs, replay.settings, statuses, fused),
        "memory_s": replay.settings.memory_s if runtime.recall is not None else 0.0,
        "predict_ahead_s": replay.settings.predict_ahead_s,
        "modalities": of_modalities,
        "errors": numbers.error_numbers(columns, modalities),
        "uncertainty": numbers.uncertainty_numbers(columns),
    }


def _targets(
    runtime: Runtime, columns: numbers.Columns, recorded: Mapping[str, RecordedTruth]
) -> dict[str, Any]:
    """Return how far estimates are from recorded targets, of all latents and by subset."""
    if not recorded:
        return {}
    names = runtime.manifest.names
    told = Coverage(teller(runtime.bundle), recorded)
    return coverage_numbers(columns, names, rows_by_subset(columns, names), told)


def _outages(played: _Played, columns: numbers.Columns) -> dict[str, Any]:
    """Return errors and coverage by time since a loss; nothing without an outage."""
    if not (outages := played.outages):
        return {}
    runtime, kept, recorded = played.replay.runtime, played.moments.kept, played.recorded
    seconds = (columns["received_ns"] - played.bag.begin_ns) * 1e-9
    rules = played.replay.settings.rules
    offsets_s = {name: rule.stamp_offset_s for name, rule in rules.items()}
    names = runtime.manifest.names
    sensors = outage_numbers(columns, runtime.modalities, outages, seconds, offsets_s, kept)
    since = [since_loss_s(columns, names.index(n), n, outages, seconds, offsets_s) for n in sensors]
    targets = {}
    if recorded:
        told = Coverage(teller(runtime.bundle), recorded)
        targets = coverage_numbers(columns, names, binned(np.max(since, axis=0)), told)
    return {
        "dropped": [asdict(outage) for outage in outages],
        "sensors": sensors,
        "targets": targets,
    }


def _audited(path: Path, bundle: Bundle, options: BagOptions) -> dict[str, Any]:
    """Return the audit of the latents in a bag, or why there is none."""
    if not options.audit:
        return {"not_audited": "not asked for"}
    asked = AuditOptions(
        topics=options.topics, params_file=options.params_file, typestore=options.typestore
    )
    try:
        return audit(path, bundle, asked)
    except BagError as err:
        return {"not_audited": str(err)}


def _settings(settings: Settings, options: BagOptions) -> dict[str, Any]:
    chosen = {"dropped": list(settings.dropped), "topics": settings.topics}
    return asdict(settings.pace) | chosen | {"typestore": options.typestore}


def _why_no_video(pictured: bool) -> str:
    return "not asked for" if pictured else "the model has no image"


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ConfigError(f"out: {out} cannot be made: {err.strerror}") from err
