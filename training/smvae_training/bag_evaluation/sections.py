"""The report of a bag, from its numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_training.bag_evaluation.figures import (
    errors_figure,
    latent_figure,
    states_figure,
    uncertainty_figure,
)
from smvae_training.bag_evaluation.pictures import Picture
from smvae_training.evaluate.report import Section, figure_html, image_html, table_html, text_html

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
    sheet: Picture | None,
) -> list[Section]:
    """Return the sections of report.html, in reading order.

    Args:
        summary: What summary.json holds.
        columns: One row per latent, see `Scores.arrays`.
        modalities: Of the model.
        sheet: Contact sheet; None where the model has no image.
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
        Section("What was fused", _fused(summary) + figure_html(states_figure(columns, names))),
    ]
    if summary["subsets"]:
        found.append(Section("Every subset", _subsets(summary, modalities)))
    return [
        *found,
        Section("Latent and uncertainty", _latent(summary, columns)),
        Section("The bag", _bag(summary)),
    ]


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
    return "".join(parts) + table_html(header, rows, caption="share of latents by state")


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
