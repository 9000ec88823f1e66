"""What all figures share: drawn without a display, their small print, colours of states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from smvae_core.fusion.rules import FusionState
from smvae_core.view.scene import STATE_COLOURS

LINES = ("#1c7ed6", "#c92a2a", "#868e96")


def new_figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float], layout: Any = None, **more: Any
) -> tuple[Figure, NDArray[Any]]:
    """Return a figure of so many inches and its axes (rows, columns)."""
    figure = Figure(figsize=size, layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def plain(axis: Any, *, label: str = "") -> None:
    """Make an axis small: no box, little type; `label` stands left of it, upright."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=7)
    if label:
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)


def states_timeline(
    times_s: NDArray[Any],
    states: NDArray[Any],
    names: Sequence[str],
    *,
    last_s: float,
    bottom: float = 0.0,
    marks: Sequence[tuple[str, str]] = (),
) -> tuple[Figure, NDArray[Any]]:
    """Draw the fusion state of every sensor in every latent as a band of colours.

    Args:
        times_s: (N,) of the latents.
        states: (N, M).
        names: Of the sensors.
        last_s: How long the last latent is shown.
        bottom: Where the bands begin, between 0 and 1; below is room for more.
        marks: (label, colour) of further entries of the legend.
    """
    figure, axes = new_figure(
        len(names), size=(9, (0.4 + 0.3 * bottom) * len(names) + 0.8), sharex=True
    )
    edges = np.maximum.accumulate(np.append(times_s, times_s[-1] + last_s))
    for axis, name, row in zip(axes[:, 0], names, states.T, strict=True):
        axis.pcolormesh(
            edges, [bottom, 1.0], row[None], rasterized=True,
            cmap=ListedColormap(STATE_COLOURS), vmin=-0.5, vmax=len(FusionState) - 0.5,
        )  # fmt: skip
        axis.set(ylim=(0, 1), yticks=[])
        plain(axis, label=name)
        axis.spines[:].set_visible(False)
    axes[-1, 0].set_xlabel("seconds", fontsize=8)
    shown = [*zip((s.name.lower() for s in FusionState), STATE_COLOURS, strict=True), *marks]
    handles = [Rectangle((0, 0), 1, 1, color=colour) for _, colour in shown]
    figure.legend(
        handles, [label for label, _ in shown], ncol=len(shown), fontsize=7, frameon=False,
        loc="upper center",
    )  # fmt: skip
    return figure, axes
