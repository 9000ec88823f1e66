"""Tables in the terminal: a cell that is too wide for it goes on in the next line, whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table


def table(title: str, first: Iterable[str], numbers: Iterable[str] = ()) -> Table:
    """Return an empty table.

    Args:
        title: Above it.
        first: Heads of columns of text.
        numbers: Heads of the columns behind, whose numbers stand to the right.
    """
    from rich.table import Table

    made = Table(title=title)
    columns: tuple[tuple[Iterable[str], JustifyMethod], ...] = ((first, "left"), (numbers, "right"))
    for heads, side in columns:
        for head in heads:
            made.add_column(head, overflow="fold", justify=side)
    return made
