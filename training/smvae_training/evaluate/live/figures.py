"""Pictures of a live run: truth beside prediction, fused states over time, latencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from smvae_core.fusion.rules import FusionState
from smvae_core.modality import subset_name
from smvae_training.evaluate.live.bag import Latent, LiveRun
from smvae_training.evaluate.live.evaluate import LiveEvaluation
from smvae_training.evaluate.live.windows import windows

#: State -> colour of the timeline, in the order of FusionState.
STATE_COLOURS = ("#e8e8e8", "#2b8a3e", "#f2b134", "#c92a2a", "#868e96")


def shown_subsets(run: LiveRun) -> list[tuple[str, ...]]:
    """Return the subsets that get a picture: each modality alone, all without a camera, all."""
    blind = tuple(m.name for m in run.modalities if not m.is_image)
    return [*((name,) for name in run.names), blind, run.names]


def middle_latent(found: LiveEvaluation, subset: Sequence[str]) -> Latent | None:
    """Return the latent nearest to the middle of the subset's first window, by that fixed rule.

    Only latents with a published prediction of every image count.
    """
    run = found.run
    images = [m.name for m in run.modalities if m.is_image]
    checks = [
        c
        for c in found.of_window(subset_name(tuple(subset)))
        if c.latent.fused == frozenset(subset)
        and all(run.predicted[name].at(c.latent.stamp_ns) is not None for name in images)
    ]
    if not checks:
        return None
    middle = (checks[0].window.begin_ns + checks[0].window.end_ns) // 2
    return min((c.latent for c in checks), key=lambda v: abs(v.stamp_ns - middle))


def prediction_figure(found: LiveEvaluation) -> Figure:
    """Draw, per shown subset, the rendered truth and what the node published at that moment."""
    run = found.run
    images = [m for m in run.modalities if m.is_image]
    picked = [(s, middle_latent(found, s)) for s in shown_subsets(run)]
    rows = [(s, latent) for s, latent in picked if latent is not None]
    shape = (max(1, len(rows)), 2 * len(images))
    figure, axes = plt.subplots(*shape, figsize=(1.6 * shape[1], 1.65 * shape[0]), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for line, (subset, latent) in zip(axes, rows, strict=False):
        for column, modality in enumerate(images):
            truth = run.truth[modality.name]
            real = truth.samples[truth.nearest(latent.stamp_ns)]
            drawn = run.predicted[modality.name].at(latent.stamp_ns)
            style = _style(modality.kind, real)
            line[2 * column].imshow(real, **style)
            line[2 * column + 1].imshow(drawn, **style)
        line[0].text(
            -0.08, 0.5, subset_name(subset).replace("+", "\n+ "), fontsize=8,
            ha="right", va="center", transform=line[0].transAxes,
        )  # fmt: skip
    for column, modality in enumerate(images):
        axes[0][2 * column].set_title(f"{modality.name}: truth", fontsize=8)
        axes[0][2 * column + 1].set_title(f"{modality.name}: published", fontsize=8)
    figure.tight_layout(pad=0.3)
    plt.close(figure)
    return figure


def _style(kind: str, real: Any) -> dict[str, Any]:
    if kind == "color_image":
        return {}
    seen = real[real > 0]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    return {"cmap": "viridis", "vmin": low, "vmax": high}


def timeline_figure(found: LiveEvaluation) -> Figure:
    """Draw the state of every modality over time, and below each what the schedule said."""
    run = found.run
    names = run.names
    figure, axes = plt.subplots(
        len(names), 1, figsize=(9, 0.5 * len(names) + 0.8), sharex=True, squeeze=False
    )
    states = len(FusionState)
    times = np.array([(v.stamp_ns - found.start_ns) * 1e-9 for v in run.latents])
    edges = np.append(times, times[-1] + 0.2)
    for axis, name in zip(axes[:, 0], names, strict=True):
        values = np.array([[int(v.states[name]) for v in run.latents]])
        axis.pcolormesh(
            np.maximum.accumulate(edges), [0.3, 1.0], values,
            cmap=ListedColormap(STATE_COLOURS), vmin=-0.5, vmax=states - 0.5, rasterized=True,
        )  # fmt: skip
        for window in windows(run.marks, run.modalities):
            if name in window.subset:
                begin = (window.begin_ns - found.start_ns) * 1e-9
                end = (window.end_ns - found.start_ns) * 1e-9
                axis.fill_between([begin, end], 0.0, 0.25, color="#1c3d5a", linewidth=0)
        axis.set_ylim(0, 1)
        axis.set_yticks([])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axis.spines[:].set_visible(False)
    axes[-1, 0].set_xlabel("seconds", fontsize=8)
    handles = [plt.Rectangle((0, 0), 1, 1, color=c) for c in STATE_COLOURS]
    labels = [s.name.lower() for s in FusionState]
    handles.append(plt.Rectangle((0, 0), 1, 1, color="#1c3d5a"))
    figure.legend(
        handles, [*labels, "sensor on"], ncol=states + 1, fontsize=7, frameon=False,
        loc="upper center",
    )  # fmt: skip
    plt.close(figure)
    return figure


def latency_figure(found: LiveEvaluation) -> Figure:
    """Draw how long latents took from their stamp to the recorder."""
    latents = [c.latent for c in found.fusion if c.latent.valid]
    values = np.array([(v.received_ns - v.stamp_ns) * 1e-6 for v in latents])
    figure, axis = plt.subplots(figsize=(6, 2.4))
    if values.size:
        values = np.maximum(values, 1e-3)
        bins = np.geomspace(values.min(), values.max() * 1.001, 60).tolist()
        axis.hist(values, bins=bins, color="#1c7ed6")
        for q, style in ((50, "-"), (99, "--")):
            at = float(np.percentile(values, q))
            axis.axvline(at, color="#c92a2a", linestyle=style, label=f"p{q} {at:.1f} ms")
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.legend(fontsize=8, frameon=False)
    axis.set_xlabel("stamp to latent received [ms]", fontsize=8)
    axis.set_ylabel("latents", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    plt.close(figure)
    return figure
