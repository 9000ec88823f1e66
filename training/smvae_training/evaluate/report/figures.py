"""Pictures of the report: the paper's Figure 7 for this model, and the training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smvae_core.modality import Modality, subset_name
from smvae_datasets.dataset import Dataset, conditions
from smvae_training.evaluate.likelihood.summary import reach
from smvae_training.evaluate.measures import images, picture, shown_range, windows
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Array, Records
from smvae_training.evaluate.report.draw import LINES, new_figure, plain

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
    cameras, signals = images(modalities), windows(modalities)
    records = Records.of(episodes, index, len(index))
    means = {s: predictor.posterior(s).mean for s in subsets}
    widths = [1.0] * len(cameras) + [1.6] * len(signals) + [1.0] * (len(cameras) * len(subsets))
    figure, axes = new_figure(
        len(index),
        len(widths),
        size=(1.5 * sum(widths), 1.5 * len(index)),
        gridspec_kw={"width_ratios": widths, "wspace": 0.08, "hspace": 0.08},
    )
    truth = {m.name: records.truth(m) for m in (*cameras, *signals)}
    limits = {m.name: shown_range(m, truth[m.name]) for m in cameras}
    columns = [(m, m.name, truth[m.name]) for m in (*cameras, *signals)]
    for s in subsets:
        drawn = ((m, predictor.reconstruct(m.name, means[s])) for m in cameras)
        columns += [(m, f"{m.name} from\n{_short(s, modalities)}", image) for m, image in drawn]
    event, shown = next(iter(conditions(records.targets, len(records)).items()))
    steps = index - [int(np.argmax(episodes.group == g)) for g in records.group]
    for row, line in enumerate(axes):
        for axis, (m, title, samples) in zip(line, columns, strict=True):
            if m in cameras:
                axis.imshow(picture(m, samples[row], limits[m.name]))
                axis.set(xticks=[], yticks=[])
            else:
                _draw_window(axis, m, samples, row)
            if row == 0:
                axis.set_title(title if m in cameras else axis.get_title(), fontsize=8)
        said = f" {event}" if event != "all" and shown[row] else ""
        line[0].set_ylabel(f"step {steps[row]}{said}", fontsize=8)
    return figure


def _short(subset: tuple[str, ...], modalities: Sequence[Modality]) -> str:
    return "all" if len(subset) == len(modalities) else subset_name(subset)


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


def rises(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw by how much errors rise in each named case, largest first, with 95 % intervals."""
    names = sorted(found, key=lambda n: -np.nan_to_num(found[n]["mean"], nan=-np.inf))
    figure, ((axis,),) = new_figure(size=(6, 0.35 * len(names) + 0.8), layout="constrained")
    places = np.arange(len(names))[::-1]
    means = [100.0 * np.nan_to_num(found[n]["mean"]) for n in names]
    errors = [
        100.0 * np.nan_to_num(reach(found[n]["groups"]) * found[n]["standard_error"]) for n in names
    ]
    axis.barh(places, means, xerr=errors, height=0.6, color=LINES[0], ecolor=LINES[2], capsize=3)
    axis.set_yticks(places, names)
    axis.axvline(0.0, color=LINES[2], linewidth=0.8)
    axis.set_xlabel("rise of the error [%], 95 % interval", fontsize=8)
    plain(axis)
    return figure


def curves(rows: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw the training log: ELBO and KL, then log likelihood and noise of each modality.

    Steps in which nothing is decoded, of a memory's stage 'match', have none of these.
    """
    rows = [row for row in rows if "elbo" in row]
    if len(rows) < 2:
        return None
    steps = [row["step"] for row in rows]
    figure, (axes,) = new_figure(1, 4, size=(15, 3.2), layout="constrained")
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
    return figure
