"""The results of one method: a JSON file that grows attempt by attempt, and goes on when asked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from benchmarks.tables.paired import ResultsError
from smvae_core.bundle import Bundle
from smvae_core.files import write_text
from smvae_datasets.simulation.closed_loop.outcome import Outcome

Cell = tuple[str, str]
"""Failure and operator, by name."""


class Store:
    """Outcomes by cell and attempt."""

    outcome: type[Any] = Outcome
    """The dataclass of an outcome; another task has another."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Take up what is there.

        Args:
            path: The file.
            about: What made the outcomes; outcomes of anything else do not belong here.

        Raises:
            ResultsError: If the file holds outcomes of something else.
        """
        self._path, self._about = path, dict(about)
        self.cells: dict[Cell, dict[int, Any]] = {}
        if not path.is_file():
            return
        found = json.loads(path.read_text(encoding="utf-8"))
        for name, value in self._about.items():
            if found["about"].get(name) != value:
                raise ResultsError(
                    f"{path}: holds attempts with {name} {found['about'].get(name)!r}, these have "
                    f"{value!r}: move it away, or give another --out"
                )
        self._about = found["about"] | self._about
        for row in found["cells"]:
            self.cells[row["failure"], row["operator"]] = _outcomes(row, self.outcome)

    @property
    def perceives(self) -> bool:
        """Whether these are attempts of a method that perceives, so that failures matter."""
        return "bundle" in self._about

    def note(self, facts: Mapping[str, Any]) -> None:
        """Write these beside the outcomes; others do not make them something else."""
        self._about |= facts

    def add(self, cell: Cell, number: int, outcome: Any) -> None:
        """Take in an attempt."""
        self.cells.setdefault(cell, {})[number] = outcome

    def write(self) -> None:
        """Write the file, whole or not at all."""
        rows = [_row(cell, outcomes) for cell, outcomes in sorted(self.cells.items())]
        text = ",\n".join(json.dumps(row) for row in rows)
        write_text(self._path, f'{{"about": {json.dumps(self._about)},\n"cells": [\n{text}\n]}}\n')


def identity_of_bundle(bundle: Bundle) -> str:
    """Return the hash of a bundle whatever the time of its export.

    So attempts go on with one that is made again.
    """
    manifest = replace(bundle.manifest, created="")
    return hashlib.sha256(json.dumps(manifest.to_json(), sort_keys=True).encode()).hexdigest()


def _row(cell: Cell, outcomes: Mapping[int, Any]) -> dict[str, Any]:
    numbers = sorted(outcomes)
    names = [f.name for f in fields(outcomes[numbers[0]])]
    columns = {name: [_rounded(getattr(outcomes[n], name)) for n in numbers] for name in names}
    return {"failure": cell[0], "operator": cell[1], "attempts": numbers, **columns}


def _rounded(value: bool | float) -> int | float | None:
    if isinstance(value, (bool, int)):
        return int(value)
    return round(float(value), 3) if math.isfinite(value) else None  # JSON has no NaN


def _outcomes(row: Mapping[str, Any], outcome: type[Any]) -> dict[int, Any]:
    found = {}
    for at, number in enumerate(row["attempts"]):
        values = {f.name: row[f.name][at] for f in fields(outcome)}
        values = {k: math.nan if v is None else v for k, v in values.items()}
        flags = {f.name: bool(values[f.name]) for f in fields(outcome) if f.type == "bool"}
        found[number] = outcome(**values | flags)
    return found
