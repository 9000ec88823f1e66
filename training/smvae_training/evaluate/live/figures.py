"""Pictures of a live run: truth beside prediction, fused states over time, latencies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from smvae_core.modality import subset_name
from smvae_training.evaluate.live.bag import Latent, LiveRun
from smvae_training.evaluate.live.evaluate import LiveEvaluation
from smvae_training.evaluate.live.fusion import windows
from smvae_training.evaluate.live.images import as_network
from smvae_training.evaluate.measures import blind, images, picture, shown_range
from smvae_training.evaluate.report.draw import LINES, new_figure, plain, states_timeline

_SENSOR_ON = "#1c3d5a"


def shown_subsets(run: LiveRun) -> list[tuple[str, ...]]:
    """Return the subsets that get a picture: each modality alone, all without a camera, all."""
    without = [blind(run.modalities)] if blind(run.modalities) else []
    return [*((name,) for name in run.names), *without, run.names]


def middle_latent(found: LiveEvaluation, subset: Sequence[str]) -> Latent | None:
    """Return the latent nearest to the middle of the subset's first window, by that fixed rule.

    Only latents with a published prediction of every image count.
    """
    run = found.run
    checks = [
        c
        for c in found.of_window(subset_name(tuple(subset)))
        if c.latent.fused == frozenset(subset)
        and all(run.predicted[name].at(c.latent.answers_ns) is not None for name in run.predicted)
    ]
    if not checks:
        return None
    middle = (checks[0].window.begin_ns + checks[0].window.end_ns) // 2
    return min((c.latent for c in checks), key=lambda v: abs(v.stamp_ns - middle))


def prediction_figure(found: LiveEvaluation) -> Figure:
    """Draw, per shown subset, the rendered truth and what the node published at that moment."""
    run = found.run
    shown = images(run.modalities)
    picked = [(s, middle_latent(found, s)) for s in shown_subsets(run)]
    rows = [(s, latent) for s, latent in picked if latent is not None]
    shape = (max(1, len(rows)), 2 * len(shown))
    size = (1.6 * shape[1], 1.65 * shape[0])
    figure, axes = new_figure(*shape, size=size)
    for axis in axes.flat:
        axis.set_axis_off()
    for line, (subset, latent) in zip(axes, rows, strict=False):
        for column, modality in enumerate(shown):
            truth, predicted = run.truth[modality.name], run.predicted[modality.name]
            real = as_network(modality.uncut, truth.samples[truth.nearest(latent.answers_ns)])
            drawn = as_network(modality.uncut, np.asarray(predicted.at(latent.answers_ns)))
            limits = shown_range(modality, real)
            line[2 * column].imshow(picture(modality, real[0], limits))
            line[2 * column + 1].imshow(picture(modality, drawn[0], limits))
        line[0].text(
            -0.08, 0.5, subset_name(subset).replace("+", "\n+ "), fontsize=8,
            ha="right", va="center", transform=line[0].transAxes,
        )  # fmt: skip
    for column, modality in enumerate(shown):
        axes[0][2 * column].set_title(f"{modality.name}: truth", fontsize=8)
        axes[0][2 * column + 1].set_title(f"{modality.name}: published", fontsize=8)
    figure.tight_layout(pad=0.3)
    return figure


def timeline_figure(found: LiveEvaluation) -> Figure:
    """Draw the state of every modality over time, and below each what the schedule said."""
    run = found.run

    def seconds(stamp_ns: int) -> float:
        return (stamp_ns - found.start_ns) * 1e-9

    figure, axes = states_timeline(
        np.array([seconds(v.stamp_ns) for v in run.latents]),
        np.array([[int(v.states[name]) for name in run.names] for v in run.latents]),
        run.names,
        last_s=0.2,
        bottom=0.3,
        marks=[("sensor on", _SENSOR_ON)],
    )
    for window in windows(run.marks, run.modalities):
        span = [seconds(window.begin_ns), seconds(window.end_ns)]
        for axis, name in zip(axes[:, 0], run.names, strict=True):
            if name in window.subset:
                axis.fill_between(span, 0.0, 0.25, color=_SENSOR_ON, linewidth=0)
    return figure


def latency_figure(found: LiveEvaluation) -> Figure:
    """Draw how long latents took from their stamp to the recorder."""
    latents = [c.latent for c in found.fusion if c.latent.valid]
    values = np.array([(v.received_ns - v.stamp_ns) * 1e-6 for v in latents])
    figure, ((axis,),) = new_figure(size=(6, 2.4))
    if values.size:
        values = np.maximum(values, 1e-3)
        bins = np.geomspace(values.min(), values.max() * 1.001, 60).tolist()
        axis.hist(values, bins=bins, color=LINES[0])
        for q, style in ((50, "-"), (99, "--")):
            at = float(np.percentile(values, q))
            axis.axvline(at, color=LINES[1], linestyle=style, label=f"p{q} {at:.1f} ms")
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.legend(fontsize=8, frameon=False)
    axis.set_xlabel("stamp to latent received [ms]", fontsize=8)
    axis.set_ylabel("latents", fontsize=8)
    plain(axis)
    return figure
