"""The report of a bag, from its numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_training.evaluate.bag.figures import (
    errors_figure,
    latent_figure,
    states_figure,
    uncertainty_figure,
)
from smvae_training.evaluate.bag.moments import STRETCHES
from smvae_training.evaluate.report.answers import (
    LIVE,
    REJECTED,
    doubt_section,
    sensor_answers,
    sensors_section,
)
from smvae_training.evaluate.report.html import (
    Answer,
    Section,
    answers_section,
    figure_html,
    image_html,
    table_html,
    text_html,
)

FUSED, LATENT = "What was fused", "Latent and uncertainty"
_ERRORS = (
    "squared_error: prediction against the image of the latent's own moment (colour in [0, 1] "
    "squared, depth in m squared over pixels with a return). squared_error_next: against the next "
    "image that came; unchanged_next: what the present image itself scores there. rmse: root mean "
    "square of force, torque and action. A modality that was dropped is still compared with."
)


def bag_sections(
    summary: Mapping[str, Any],
    columns: Mapping[str, NDArray[Any]],
    modalities: tuple[Modality, ...],
    sheet: bytes | None,
) -> list[Section]:
    """Return the sections of report.html, in reading order.

    Args:
        summary: What summary.json holds.
        columns: One row per latent, see `Scores.arrays`.
        modalities: Of the model.
        sheet: Contact sheet, a PNG; None where the model has no image.
    """
    names = [m.name for m in modalities]
    found = []
    if summary["warnings"]:
        rows = [[line] for line in summary["warnings"]]
        found.append(Section("What is missing", table_html(["sensor and first reason"], rows)))
    if sheet is not None:
        pictures = image_html(sheet, caption=_video_words(summary["video"]))
        found.append(Section("Pictures", pictures))
    found += [
        Section("Errors over time", _errors(summary, columns, modalities)),
        Section(FUSED, _fused(summary) + figure_html(states_figure(columns, names))),
    ]
    if summary["targets"]:
        found.append(Section("Targets", _targets(summary)))
    if summary["outages"]:
        found.append(Section("Lost sensors", _outages(summary)))
    if summary["subsets"]:
        found.append(Section("Every subset", _subsets(summary, modalities)))
    if summary["sensors"]:
        groups = f"{STRETCHES} stretches of the bag"
        found += [sensors_section(summary["sensors"], groups), doubt_section(summary["sensors"])]
    found += [
        Section(LATENT, _latent(summary, columns)),
        Section("The bag", _bag(summary)),
    ]
    return [answers_section(_answers(summary), found), *found]


def _answers(summary: Mapping[str, Any]) -> list[Answer]:
    """Return what a user wants to know of a bag."""
    latents = summary["latents"]
    novel = "The bundle's novelty is not calibrated, or it is not a number here."
    if "novel_warn" in latents:
        warn, error = (f"{latents[k]:.1%}" for k in ("novel_warn", "novel_error"))
        novel = f"{warn} of the latents are novel (warning), {error} beyond the error threshold."
    return [
        *(sensor_answers(summary["sensors"]) if summary["sensors"] else ()),
        Answer(question="How much of it is novel?", text=novel, section=LATENT),
        Answer(question=REJECTED, text=_rejected(summary), section=FUSED),
        Answer(question=LIVE, text=_live(summary["live"])),
    ]


def _rejected(summary: Mapping[str, Any]) -> str:
    said = [
        f"{name} {m['rejected']} of {m['messages']} ({_counted(m['reasons'])})"
        for name, m in summary["modalities"].items()
        if m["rejected"]
    ]
    return f"Of the messages: {'; '.join(said)}." if said else "No message."


def _live(live: Mapping[str, Any]) -> str:
    if "not_audited" in live:
        return f"Not known: {live['not_audited']}."
    counts = live["latents"]
    text = (
        f"{counts['reproduced']} of {counts['checked']} recorded latents are what their recorded "
        f"samples give, within {live['tolerance']:g}"
    )
    return f"Yes: {text}." if live["holds"] else f"No: {text}; {'; '.join(live['why_not'])}."


def _video_words(video: Mapping[str, Any]) -> str:
    words = "Moments spread evenly over the bag: what it holds beside what the model predicts. "
    if video["file"]:
        return words + f"All latents: {video['file']}, {video['frames']} frames."
    return words + f"No video: {video['why_not']}."


def _errors(
    summary: Mapping[str, Any],
    columns: Mapping[str, NDArray[Any]],
    modalities: tuple[Modality, ...],
) -> str:
    rows = [
        [name, e["count"], e["mean"], e["median"], e["p95"]]
        for name, e in summary["errors"].items()
    ]
    header = ["error", "latents", "mean", "median", "95 %"]
    return (
        text_html(_ERRORS)
        + table_html(header, rows)
        + figure_html(errors_figure(columns, modalities))
    )


def _fused(summary: Mapping[str, Any]) -> str:
    total = summary["latents"]["count"]
    rows = [[name, n, n / total] for name, n in summary["latents"]["fused"].items()]
    parts = [table_html(["fused", "latents", "share"], rows)]
    if summary["settings"]["dropped"]:
        parts.insert(0, text_html(f"Left out: {', '.join(summary['settings']['dropped'])}."))
    states = next(iter(summary["modalities"].values()))["states"]
    rows = [
        [name, m["messages"], m["rejected"], _counted(m["reasons"]), *m["states"].values()]
        for name, m in summary["modalities"].items()
    ]
    header = ["modality", "messages", "rejected", "reasons", *states]
    parts.append(table_html(header, rows, caption="share of latents by state"))
    return "".join(parts) + _suspects(summary["suspects"])


def _suspects(found: Mapping[str, Any]) -> str:
    """Return which sensors the others spoke against; nothing where nobody was judged."""
    rows = [
        [name, s["latents"], s["first_s"], s["most_suspicion"], _counted(s["reasons"])]
        for name, s in found.items()
    ]
    header = ["modality", "latents as suspect", "since [s]", "most suspicion (1 = suspect)", "why"]
    return table_html(header, rows) if rows else ""


def _outages(summary: Mapping[str, Any]) -> str:
    """Return a table for each sensor that was taken away, and for each target."""
    outages, memory_s = summary["outages"], summary["memory_s"]
    dropped = "; ".join(
        f"{', '.join(o['sensors'])} from {o['start_s']:g} s for {o['length_s']:g} s"
        for o in outages["dropped"]
    )
    memory = f"Samples of the last {memory_s:g} s count." if memory_s else "Nothing is remembered."
    parts = [
        text_html(
            f"Messages that never came: {dropped}. {memory} ratio: squared error over that of the "
            "mean image. inside_90: share of the values inside the 90 % interval of the prediction."
        )
    ]
    for kind in ("sensors", "targets"):
        for name, found in outages[kind].items():
            caption = f"{name}, by time since the loss"
            parts.append(_labelled("lost for", found, caption))
    return "".join(parts)


def _targets(summary: Mapping[str, Any]) -> str:
    """Return a table for each recorded target."""
    told = text_html(
        "What the latents say of recorded targets, by what they rest on. known: share of the "
        "numbers that are not NaN; errors, and inside_90, the share inside the 90 % interval, are "
        "over those."
    )
    return told + "".join(
        _labelled("rests on", found, name) for name, found in summary["targets"].items()
    )


def _labelled(first: str, found: Mapping[str, Mapping[str, Any]], caption: str) -> str:
    header = [first, *next(iter(found.values()), {})]
    rows = [[label, *row.values()] for label, row in found.items()]
    return table_html(header, rows, caption=caption)


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in reasons.items())


def _subsets(summary: Mapping[str, Any], modalities: tuple[Modality, ...]) -> str:
    every = summary["subset_every"]
    parts = [
        text_html(
            f"Every subset of what the bag held, at every {every}th latent. ratio: squared error "
            "over that of the mean image of the same moments, the best constant prediction."
        )
    ]
    for modality in modalities:
        keys = _keys(summary["subsets"], modality.name)
        if not keys:
            continue
        rows = [
            [subset, *(found[modality.name].get(key) for key in keys)]
            for subset, found in summary["subsets"].items()
        ]
        parts.append(table_html(["observed", *keys], rows, caption=f"target: {modality.name}"))
    return "".join(parts)


def _keys(subsets: Mapping[str, Any], name: str) -> list[str]:
    """Return the scores that any subset has of a target, best known first."""
    longest = max((found[name] for found in subsets.values()), key=len)
    return list(longest) if longest["moments"] else []


def _latent(summary: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> str:
    rows = [[name, u["mean"], u["median"], u["p95"]] for name, u in summary["uncertainty"].items()]
    return (
        figure_html(latent_figure(columns), caption="Posterior mean of every latent.")
        + figure_html(uncertainty_figure(columns))
        + table_html(["uncertainty", "mean", "median", "95 %"], rows)
    )


def _bag(summary: Mapping[str, Any]) -> str:
    bag, latents = summary["bag"], summary["latents"]
    rows = [
        ["bag", bag["path"]],
        ["seconds", bag["seconds"]],
        ["latents", latents["count"]],
        ["moments without one: the output was not finite (ERROR)", latents["not_finite"]],
        ["latents per second", latents["rate_hz"]],
        ["longest gap between latents [s]", latents["longest_gap_s"]],
        ["epochs (time jumped between them)", latents["epochs"]],
        *([f"model: {k}", v] for k, v in summary["model"].items()),
        *([f"setting: {k}", str(v)] for k, v in summary["settings"].items()),
        *([f"topic: {t['name']}", f"{t['messages']} {t['type']}"] for t in bag["topics"]),
    ]
    return table_html(["what", "value"], rows)
