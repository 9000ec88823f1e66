"""Pictures of the report: the paper's Figure 7 for this model, and the training curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smvae_core.modality import Modality, subset_name
from smvae_datasets.dataset import Dataset, conditions
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Array, pick

#: Rows of the picture.
MOMENTS = 6


def choose_moments(
    episodes: Dataset, held_out: NDArray[np.int64], count: int = MOMENTS
) -> NDArray[np.int64]:
    """Return records spread evenly over the first held-out trajectory, by a fixed rule.

    If the data tell an event, as contact, which the trajectory has and none of them shows, the one
    nearest to its beginning is replaced by it.
    """
    first = episodes.group[held_out].min()
    index = held_out[episodes.group[held_out] == first]
    rows = np.unique(np.linspace(0, len(index) - 1, count).round().astype(np.int64))
    event, *others = conditions(episodes.targets, len(episodes)).values()
    shown = event[index]
    if others and shown.any() and not shown[rows].any():
        begin = int(np.argmax(shown))
        rows[np.argmin(np.abs(rows - begin))] = begin
    return index[np.sort(rows)]


def figure_7(
    predictor: Predictor,
    episodes: Dataset,
    index: NDArray[np.int64],
    modalities: Sequence[Modality],
    subsets: Sequence[tuple[str, ...]],
) -> Figure:
    """Draw what was recorded at each moment and what the model draws from each subset.

    Args:
        predictor: Has embedded the records `index`, in this order.
        episodes: Where they come from.
        index: Rows of the picture.
        modalities: Of the model.
        subsets: One group of reconstructed images each.
    """
    images = [m for m in modalities if m.is_image]
    windows = [m for m in modalities if m.family.is_window]
    records = pick(episodes, index, len(index))
    drawn = {
        (s, m.name): predictor.reconstruct(m.name, predictor.posterior(s).mean)
        for s in subsets
        for m in images
    }
    width = len(images) * (1 + len(subsets)) + 1.6 * len(windows)
    ratio = [1.0] * len(images) + [1.6] * len(windows) + [1.0] * (len(images) * len(subsets))
    figure, axes = plt.subplots(
        len(index),
        len(ratio),
        figsize=(1.5 * width, 1.5 * len(index)),
        gridspec_kw={"width_ratios": ratio, "wspace": 0.08, "hspace": 0.08},
        squeeze=False,
    )
    truth = {m.name: records.truth(m) for m in (*images, *windows)}
    event, shown = next(iter(conditions(records.targets, len(records)).items()))
    steps = index - [int(np.argmax(episodes.group == g)) for g in records.trajectory]
    for row, line in enumerate(axes):
        cells = iter(line)
        for m in images:
            _draw_image(next(cells), m, truth[m.name][row], truth[m.name], row, m.name)
        for m in windows:
            _draw_window(next(cells), m, truth[m.name], row)
        for s in subsets:
            for m in images:
                label = f"{m.name} from\n{_short(s, modalities)}"
                _draw_image(next(cells), m, drawn[s, m.name][row], truth[m.name], row, label)
        said = f" {event}" if event != "all" and shown[row] else ""
        line[0].set_ylabel(f"step {steps[row]}{said}", fontsize=8)
    plt.close(figure)
    return figure


def _short(subset: tuple[str, ...], modalities: Sequence[Modality]) -> str:
    return "all" if len(subset) == len(modalities) else subset_name(subset)


def _draw_image(
    axis: Any, modality: Modality, image: Array, truth: Array, row: int, title: str
) -> None:
    if modality.family.shown_range(modality) is None:
        axis.imshow(np.clip(image.transpose(1, 2, 0), 0.0, 1.0))
    else:
        valid = truth[truth > 0]
        low, high = np.percentile(valid, [1, 99]) if valid.size else (0.0, 1.0)
        axis.imshow(image[0], cmap="viridis_r", vmin=low, vmax=high)
    axis.set_xticks([])
    axis.set_yticks([])
    if row == 0:
        axis.set_title(title, fontsize=8)


def _draw_window(axis: Any, modality: Modality, truth: Array, row: int) -> None:
    """Draw the first three channels, which are forces, on one scale for all rows."""
    limit = max(1e-3, float(np.abs(np.nan_to_num(truth[:, :3])).max()))
    for channel in range(min(3, modality.shape[0])):
        label = modality.fields[channel] if modality.fields else str(channel)
        axis.plot(truth[row, channel], linewidth=1.0, label=label)
    axis.set_ylim(-1.1 * limit, 1.1 * limit)
    axis.set_xticks([])
    axis.yaxis.tick_right()
    axis.tick_params(labelsize=6, direction="in", pad=-18)
    if row == 0:
        axis.set_title(f"{modality.name} [{modality.unit.split(',')[0]}], 32 ms", fontsize=8)
        axis.legend(fontsize=5, loc="lower left", frameon=False)


def curves(rows: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw the training log: ELBO and KL, then log likelihood and noise of each modality."""
    rows = [row for row in rows if "loss" in row]
    if len(rows) < 2:
        return None
    steps = [row["step"] for row in rows]
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.2), constrained_layout=True)
    axes[0].plot(steps, [row["elbo"] for row in rows])
    axes[0].set_title("ELBO of random subsets, beta 1 [nats]")
    axes[1].plot(steps, [row["kl"] for row in rows])
    axes[1].set_title("KL [nats]")
    for axis, prefix, title in (
        (axes[2], "log_likelihood/", "E[log p(x_m given z)] [nats]"),
        (axes[3], "noise_scale/", "noise scale, normalised units"),
    ):
        keys = [k for k in rows[0] if k.startswith(prefix)]
        if not keys:  # no Gaussian modality, no noise scale
            axis.set_visible(False)
            continue
        for key in keys:
            axis.plot(steps, [row[key] for row in rows], label=key.removeprefix(prefix))
        axis.set_title(title)
        axis.legend(fontsize=7)
        axis.set_yscale("log" if prefix == "noise_scale/" else "linear")
    for axis in axes:
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    plt.close(figure)
    return figure
