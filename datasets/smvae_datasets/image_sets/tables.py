"""Read the text tables of CelebA: `NAME VALUE VALUE ...` per line, integers, one line per image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smvae_datasets.dataset import DataSetError


@dataclass(frozen=True, kw_only=True)
class Table:
    """One row of integers per image."""

    path: Path
    columns: tuple[str, ...]
    """Names of the values; empty where the file has no header."""
    rows: dict[str, NDArray[np.int32]]
    """Image file name -> (C,)."""
    lines: dict[str, int]
    """Image file name -> line in the file, from 1, for messages."""

    def row(self, name: str) -> NDArray[np.int32]:
        """Return the values of one image.

        Raises:
            DataSetError: If the table has no line for it.
        """
        if name not in self.rows:
            expected = "one for every image"
            raise DataSetError(self.path, f"no line for '{name}'", expected=expected, got="none")
        return self.rows[name]


def read_table(path: Path) -> Table:
    """Read `list_attr_celeba.txt`, `list_eval_partition.txt` or a file in their form.

    A first line of one integer is the number of images; the second then names the values.

    Raises:
        DataSetError: If the file is missing or no text, a line is malformed or there twice, or the
            number of lines is not the one promised. Names file and line.
    """
    lines = _read_lines(path)
    promised: int | None = None
    columns: tuple[str, ...] = ()
    first = 1
    if lines and len(lines[0].split()) == 1 and lines[0].split()[0].isdigit():
        promised = int(lines[0])
        columns = tuple(lines[1].split()) if len(lines) > 1 else ()
        first = 3
    width = len(columns)
    rows: dict[str, NDArray[np.int32]] = {}
    at: dict[str, int] = {}
    for number, line in enumerate(lines[first - 1 :], start=first):
        if not line.strip():
            continue
        name, *values = line.split()
        width = width or len(values)
        if len(values) != width or not values:
            expected = f"a file name and {width or 'some'} integers"
            raise DataSetError(path, "values", line=number, expected=expected, got=len(values))
        if name in rows:
            got = f"it also in line {at[name]}"
            raise DataSetError(path, f"'{name}'", line=number, expected="it once", got=got)
        try:
            rows[name] = np.array([int(value) for value in values], np.int32)
        except (ValueError, OverflowError) as err:
            got = f"'{' '.join(values)}'"
            raise DataSetError(path, name, line=number, expected="integers", got=got) from err
        at[name] = number
    if promised is not None and promised != len(rows):
        expected = f"{promised} as line 1 says"
        raise DataSetError(path, "number of images", expected=expected, got=len(rows))
    return Table(path=path, columns=columns, rows=rows, lines=at)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as err:
        raise DataSetError(path, "no such file", expected="a text table", got="nothing") from err
    except (OSError, UnicodeDecodeError) as err:
        raise DataSetError(path, f"cannot be read as text ({err})") from err
