"""The live part of the demo's report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from smvae_training.evaluate.live.evaluate import LiveEvaluation
from smvae_training.evaluate.live.figures import latency_figure, prediction_figure, timeline_figure
from smvae_training.evaluate.live.fusion import NONE
from smvae_training.evaluate.report.html import (
    Section,
    columns_html,
    figure_html,
    table_html,
    text_html,
)


def live_sections(
    found: LiveEvaluation,
    live: dict[str, Any],
    held_out: Mapping[str, Any] | None = None,
) -> list[Section]:
    """Return the sections of a live run, in reading order.

    Args:
        found: The evaluation.
        live: Its numbers, see `evaluate.numbers`.
        held_out: results.json of the same model's evaluation, to print beside; may be missing.
    """
    return [
        Section("Live: pictures", _pictures(found)),
        Section("Live: every subset", _subset_table(live)),
        Section("Live: predicted images", _image_table(live, held_out or {})),
        Section("Live: exceptions", _exceptions(live)),
        Section("Live: the bag", _bag(live)),
    ]


def checks_section(checks: Sequence[dict[str, Any]]) -> Section:
    """Return the table of checks."""
    rows = [[c["name"], bool(c["passed"]), c["required"], _words(c["got"])] for c in checks]
    marks = [[None, bool(c["passed"]), None, None] for c in checks]
    return Section("Checks", table_html(["check", "holds", "required", "got"], rows, marks=marks))


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items()) or "nothing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pictures(found: LiveEvaluation) -> str:
    caption = (
        "Truth as rendered and what the node published, at the latent nearest to the middle of "
        "each subset's first window. Depth has the truth's colour scale."
    )
    timeline = "State of each modality in every latent; the dark bar below: its sensor was on."
    return (
        figure_html(prediction_figure(found), caption=caption)
        + figure_html(timeline_figure(found), caption=timeline)
        + figure_html(latency_figure(found), caption="Reception by the recorder minus stamp.")
    )


def _subset_table(live: dict[str, Any]) -> str:
    table = columns_html(
        "sensors on",
        live["subsets"],
        {
            "latents": itemgetter("latents"),
            "fused = published": lambda s: f"{s['fused_equals_published']:.4f}",
            "exceptions": itemgetter("exceptions"),
            "stamp to received p50 [ms]": lambda s: s["stamp_to_received_ms"]["p50"],
            "p99 [ms]": lambda s: s["stamp_to_received_ms"]["p99"],
            f"offline within {live['tolerance']:g}": lambda s: f"{s['equal_to_offline']:.4f}",
            "largest difference": itemgetter("largest_difference"),
        },
    )
    none = live[NONE]
    text = text_html(
        f"Latents at least {live['margin_s']:g} s away from a switch. Published: a message of the "
        "modality is stamped within the node's skew window before the latent's stamp, by the bag. "
        "Offline: `Runtime` on the recorded inputs gives the published mean.\n\n"
        f"With every sensor off: {none['messages']} messages at {none['rate_hz']:.1f} per second, "
        f"{none['no_input']} NO_INPUT, {none['valid']} valid, {none['empty_mean']} with empty mean."
    )
    return text + table


def _image_table(live: dict[str, Any], held_out: Mapping[str, Any]) -> str:
    parts = []
    subsets = live["subsets"]
    for image in next(iter(subsets.values()))["images"]:
        found = {name: s["images"][image] | {"subset": name} for name, s in subsets.items()}
        columns: dict[str, Callable[[dict[str, Any]], Any]] = {
            "images": itemgetter("images"),
            "live error": itemgetter("live"),
            "offline error": itemgetter("offline"),
            "live / offline": lambda f: f"{f['live_over_offline']:.4f}",
            "live / mean image": itemgetter("ratio_to_mean_image"),
            "held out / mean image": partial(_held_out, held_out, image),
            "furthest truth [ms]": lambda f: f["max_apart_s"] * 1e3,
        }
        parts.append(columns_html("fused", found, columns, caption=f"target: {image}"))
    text = text_html(
        "Mean squared error against the rendered truth nearest in time (colour in [0, 1], depth in "
        "m over pixels with a return). Offline: the recorded inputs through `Runtime`, same truth. "
        "The last but one column is the evaluation on held-out episodes, all steps, whole image."
    )
    return text + "".join(parts)


def _held_out(results: Mapping[str, Any], image: str, found: Mapping[str, Any]) -> float | None:
    return held_out_ratio(results, found["subset"], image)


def held_out_ratio(results: Mapping[str, Any], subset: str, image: str) -> float | None:
    """Return the held-out error of a subset over the mean image's; None where it is not known."""
    try:
        value = results["ratios"][subset][image]["all"]["whole"]["mean"]
    except KeyError:
        return None
    return None if value is None else float(value)


def _exceptions(live: dict[str, Any]) -> str:
    total = sum(s["exceptions"] for s in live["subsets"].values())
    rows = [
        [e["at_s"], e["window"], "+".join(e["fused"]) or NONE, "+".join(e["published"]) or NONE,
         "; ".join(f"{k}: {v}" for k, v in e["causes"].items())]
        for e in live["exceptions"]
    ]  # fmt: skip
    text = text_html(
        f"{total} latents whose fused set is not what was published; {len(rows)} listed."
    )
    if live["unequal_causes"]:
        listed = "; ".join(f"{n} x {cause}" for cause, n in live["unequal_causes"].items())
        text += text_html(f"Latents that differ from offline: {listed}.")
    header = ["at [s]", "sensors on", "fused", "published", "cause"]
    return text + (table_html(header, rows) if rows else "")


def _bag(live: dict[str, Any]) -> str:
    lost = live["bag"]["lost"] or {}
    rows = [[topic, n, lost.get(topic, 0)] for topic, n in live["bag"]["messages"].items()]
    rows += [[key, value, ""] for key, value in live["model"].items()]
    return table_html(["topic", "messages", "lost"], rows)
