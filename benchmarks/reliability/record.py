"""What a measurement gives: promises with their figures, and the file that they are kept in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import table
from smvae_core.files import write_text

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One promise, the figure measured, and the limit that it must not exceed."""

    text: str
    """What is promised, in words, with the limit in it."""
    figure: float
    limit: float
    unit: str
    at_least: bool = False
    """The figure must reach the limit, instead of staying below it."""

    @property
    def kept(self) -> bool:
        """Whether the figure is within the limit; NaN never is."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    @property
    def spelled(self) -> str:
        """The figure with its unit."""
        number = f"{self.figure:.3g}" if self.figure % 1 else f"{self.figure:.0f}"
        return f"{number} {self.unit}".strip()


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measurement."""

    promises: tuple[Promise, ...]
    done: str
    """What was done, in a sentence or two, for the page."""
    raw: Mapping[str, Any]
    """Figures behind the promises."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How the node and the sensors were set."""


def path(name: str, folder: Path = RESULTS) -> Path:
    """Return the file of a measurement."""
    return folder / f"reliability-{name}.json"


def write(name: str, result: Result, conditions: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write a measurement with its conditions; return the file."""
    record = {
        "measurement": name,
        "done": result.done,
        "promises": [asdict(p) | {"kept": p.kept} for p in result.promises],
        "settings": dict(result.settings),
        **conditions,
        "raw": dict(result.raw),
    }
    file = path(name, folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(for_json(record), indent=1) + "\n")
    return file


def read(file: Path) -> tuple[tuple[Promise, ...], dict[str, Any]]:
    """Return the promises of a written measurement, and all of it."""
    record = json.loads(file.read_text(encoding="utf-8"))
    names = ("text", "figure", "limit", "unit", "at_least")
    promises = []
    for entry in record["promises"]:
        values = {n: entry[n] for n in names}
        if values["figure"] is None:
            values["figure"] = math.nan
        promises.append(Promise(**values))
    return tuple(promises), record


def short_table(result: Result) -> str:
    """Return the promises as a Markdown table."""
    rows = [(p.text, p.spelled, "kept" if p.kept else "BROKEN") for p in result.promises]
    return table(("promise", "measured", ""), rows)


def for_json(value: Any, digits: int = 6) -> Any:
    """Return a value for JSON, which knows no NaN: None instead."""
    if isinstance(value, Mapping):
        return {str(k): for_json(v, digits) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(v, digits) for v in value]
    if isinstance(value, float):
        return round(value, digits) if math.isfinite(value) else None
    return value
