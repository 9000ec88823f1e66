"""Picture of the robot's results: error of decoded images given every subset, by method."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from benchmarks.tables.paired import Results
from benchmarks.tables.robot import IMAGES, SUBSETS, image_error
from smvae_training.evaluate.report.draw import new_figure

#: Colours that stay apart for colour-blind readers (Okabe and Ito 2008), and marks for print.
MARKS = (
    ("#000000", "o"),
    ("#e69f00", "s"),
    ("#56b4e9", "^"),
    ("#009e73", "D"),
    ("#d55e00", "v"),
    ("#cc79a7", "P"),
    ("#0072b2", "X"),
)


def draw_errors(path: Path, ordered: Sequence[Results]) -> None:
    """Write a PNG: per image a panel of the 15 subsets, mean squared errors on a log axis."""
    figure, axes = new_figure(1, len(IMAGES), size=(10, 5.2), sharey=True)
    for axis, name in zip(axes[0], IMAGES, strict=True):
        for index, (found, (colour, mark)) in enumerate(zip(ordered, cycle(MARKS), strict=False)):
            values = [image_error(found, subset, name) for subset in SUBSETS]
            shown = [float("nan") if value is None else value for value in values]
            rows = [row + 0.1 * (index - len(ordered) / 2) for row in range(len(SUBSETS))]
            axis.plot(shown, rows, mark, color=colour, label=found.method, fillstyle="none")
        axis.set(xscale="log", title=name, xlabel="squared error, normalised units")
        axis.grid(True, axis="both", which="major", alpha=0.3)
    axes[0][0].set_yticks(range(len(SUBSETS)), SUBSETS)
    axes[0][0].invert_yaxis()
    axes[0][0].set_ylabel("observed")
    axes[0][-1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
