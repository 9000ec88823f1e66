"""Many small images in one picture, with titles of rows, columns and cells.

R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from smvae_training.evaluate.report.draw import new_figure

Array = NDArray[np.float32]

#: White pixels between images.
GAP = 2
#: Inches of a cell, by the side of its images.
_CELL = {28: 0.62, 32: 0.7, 64: 0.85, 128: 1.2}
#: Inches of a line of a cell's title.
_LINE = 0.14


def rgb(images: Tensor | NDArray[Any]) -> Array:
    """Return images (..., 1 or 3, H, W) in [0, 1] as (..., H, W, 3)."""
    array = np.clip(np.asarray(images, np.float32), 0.0, 1.0)
    channels_last = np.moveaxis(array, -3, -1)
    return np.broadcast_to(channels_last, (*channels_last.shape[:-1], 3))


def mosaic(rows: Array, gaps: tuple[int, int] = (GAP, GAP)) -> Array:
    """Return one white picture (height, width, 3) of images (R, C, H, W, 3).

    Args:
        rows: Images by row.
        gaps: White pixels between rows and between columns.
    """
    apart = ((0, 0), (0, 0), (0, gaps[0]), (0, gaps[1]), (0, 0))
    cells = np.pad(rows, apart, constant_values=1.0)
    count, across, height, width, _ = cells.shape
    picture = cells.transpose(0, 2, 1, 3, 4).reshape(count * height, across * width, 3)
    return picture[: len(picture) - gaps[0], : across * width - gaps[1]]


def grid_figure(
    rows: Array,
    *,
    title: str,
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    cell_titles: Sequence[Sequence[str]] = (),
) -> Figure:
    """Draw images (R, C, H, W, 3) with their titles.

    Args:
        rows: Images by row.
        title: Of the picture.
        row_titles: Left of the rows.
        column_titles: Above the columns; slanted where they are long.
        cell_titles: Under each image.
    """
    side = rows.shape[2]
    cell = _CELL.get(side, 0.85)
    lines = max((text.count("\n") + 1 for row in cell_titles for text in row), default=0)
    gaps = (GAP + round(lines * _LINE / cell * side), GAP)
    size = (cell * rows.shape[1], cell * len(rows) * (side + gaps[0]) / side)
    figure, ((axis,),) = new_figure(size=size)
    draw_mosaic(axis, rows, row_titles, column_titles, cell_titles, gaps)
    axis.set_title(title, fontsize=10, pad=10)  # set above the column titles by itself
    return figure


def draw_mosaic(
    axis: Any,
    rows: Array,
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    cell_titles: Sequence[Sequence[str]] = (),
    gaps: tuple[int, int] = (GAP, GAP),
    slanted: bool = False,
) -> None:
    """Draw the images and their titles on one axis."""
    height, width = rows.shape[2:4]
    axis.imshow(mosaic(rows, gaps), interpolation="nearest", aspect="equal")
    middle = [(width + gaps[1]) * c + width / 2 for c in range(rows.shape[1])]
    centre = [(height + gaps[0]) * r + height / 2 for r in range(len(rows))]
    axis.set_xticks(middle if column_titles else [], list(column_titles) or None)
    axis.set_yticks(centre if row_titles else [], list(row_titles) or None)
    axis.tick_params(length=0, labelsize=8, labeltop=True, labelbottom=False)
    if slanted or any(len(title) > 8 for title in column_titles):
        for label in axis.get_xticklabels():
            label.set(rotation=45, ha="left", rotation_mode="anchor")
    for r, line in enumerate(cell_titles):
        for c, text in enumerate(line):
            place = (middle[c], centre[r] + height / 2 + 1)
            axis.text(*place, text, fontsize=6, ha="center", va="top")
    axis.spines[:].set_visible(False)
