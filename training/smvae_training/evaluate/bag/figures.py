"""Pictures over time: errors, states, the latent's way, uncertainty.

N latents, M modality, Z latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_training.evaluate.bag.scores import error_names
from smvae_training.evaluate.report.draw import LINES, new_figure, plain, states_timeline

Columns = Mapping[str, NDArray[Any]]


def seconds(columns: Columns) -> NDArray[np.float64]:
    """Return the latents' stamps (N,) in seconds since the first."""
    stamps = columns["stamp_ns"]
    return np.asarray((stamps - stamps.min()) * 1e-9, np.float64)


def errors_figure(columns: Columns, modalities: Sequence[Modality]) -> Figure:
    """Draw the errors of each modality's prediction over time."""
    size = (9, 1.6 * len(modalities))
    figure, axes = new_figure(len(modalities), size=size, sharex=True)
    times = seconds(columns)
    for axis, modality in zip(axes[:, 0], modalities, strict=True):
        for name, colour in zip(error_names(modality), LINES, strict=False):
            label = name.removeprefix(f"{modality.name}_").replace("_", " ")
            axis.plot(times, columns[name], linewidth=0.8, color=colour, label=label)
        plain(axis, label=modality.name)
        axis.margins(y=0.3)  # room for the legend
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, frameon=False, loc="upper right", ncol=3)
    axes[-1, 0].set_xlabel("seconds", fontsize=8)
    return figure


def states_figure(columns: Columns, names: Sequence[str]) -> Figure:
    """Draw the state of every modality in every latent."""
    return states_timeline(seconds(columns), columns["state"], names, last_s=0.05)[0]


def latent_figure(columns: Columns) -> Figure:
    """Draw the latent's way: its two main directions, and the dimensions that vary most."""
    mean, times = columns["mean"].astype(np.float64), seconds(columns)
    figure, ((left, right),) = new_figure(1, 2, size=(9, 3), width_ratios=(1, 1.6))
    points = principal(mean)
    drawn = left.scatter(points[:, 0], points[:, 1], c=times, s=6, cmap="viridis")
    left.plot(points[:, 0], points[:, 1], linewidth=0.4, color="#adb5bd", zorder=0)
    left.set_xlabel("first principal direction", fontsize=8)
    left.set_ylabel("second", fontsize=8)
    figure.colorbar(drawn, ax=left, label="seconds")
    for dimension in np.argsort(-mean.var(axis=0), kind="stable")[:6]:
        right.plot(times, mean[:, dimension], linewidth=0.8, label=f"z{dimension}")
    right.legend(fontsize=7, frameon=False, ncol=6, loc="upper center")
    plain(left)
    plain(right)
    right.set_xlabel("seconds", fontsize=8)
    return figure


def uncertainty_figure(columns: Columns) -> Figure:
    """Draw the posterior's mean standard deviation, its divergence from the prior, novelty."""
    spread = np.exp(0.5 * columns["log_var"]).mean(axis=1)
    rows = [("mean std of z", spread), ("KL [nats]", columns["kl"])]
    if np.isfinite(columns["novelty"]).any():
        rows.append(("novelty", columns["novelty"]))
    figure, axes = new_figure(len(rows), size=(9, 1.3 * len(rows)), sharex=True)
    for axis, (label, values) in zip(axes[:, 0], rows, strict=True):
        axis.plot(seconds(columns), values, linewidth=0.8, color=LINES[0])
        plain(axis)
        axis.set_ylabel(label, fontsize=8)
        axis.set_ylim(bottom=0)
    axes[-1, 0].set_xlabel("seconds", fontsize=8)
    return figure


def principal(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 2) coordinates of latents (N, Z) along their two main directions."""
    centred = mean - mean.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:2].T
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
