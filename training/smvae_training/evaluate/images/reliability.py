"""How often a stated probability is right, bin by bin.

N items, C classes or attributes.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smvae_training.evaluate.likelihood.calibration import BINS, Calibration
from smvae_training.evaluate.measures import is_exclusive
from smvae_training.evaluate.report.draw import new_figure


def stated_and_right(found: Calibration) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return probabilities and whether each came true.

    Of a label the likeliest class's (N,), of attributes each one's presence (N C,).
    """
    p = found.probability.astype(np.float64)
    if is_exclusive(found.modality):
        return p.max(axis=1), found.correct()
    return p.ravel(), found.truth.ravel() == 1


def bins(
    stated: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean probability, share that came true, and number, of every bin; NaN where empty."""
    member = np.clip((stated * BINS).astype(np.int64), 0, BINS - 1)
    count = np.bincount(member, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(member, weights=stated, minlength=BINS) / count
        share = np.bincount(member, weights=right, minlength=BINS) / count
    return mean, share, count


def reliability_figure(found: Calibration) -> Figure:
    """Draw the share that came true against the stated probability, over the number in each bin."""
    mean, share, count = bins(*stated_and_right(found))
    figure, axes = new_figure(
        2, size=(4.2, 4.6), layout="constrained", height_ratios=(3, 1), sharex=True
    )
    above, below = axes[:, 0]
    above.plot([0, 1], [0, 1], color="tab:gray", linewidth=1, linestyle="--")
    filled = count > 0
    above.plot(mean[filled], share[filled], marker="o", markersize=4)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is right")
    above.grid(alpha=0.3)
    above.set_title(f"stated and true: {found.modality.name} given {' + '.join(found.given)}")
    below.bar((np.arange(BINS) + 0.5) / BINS, count, width=0.9 / BINS, color="tab:gray")
    below.set(xlabel="stated probability", ylabel="number")
    return figure
