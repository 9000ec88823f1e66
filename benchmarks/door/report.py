"""Tables of the door's closed loop: shares opened, and differences paired by attempt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.closed_loop.report import Share, mean_within, points
from benchmarks.closed_loop.store import Store
from benchmarks.door.failures import ALIVE, FAILURES
from benchmarks.door.outcome import DoorOutcome
from benchmarks.tables.markdown import table

#: Results of the door are files with this in front of the method's name.
PREFIX = "closed-loop-door-"
#: Methods that perceive nothing, in the order of the tables.
WITHOUT_SENSORS = ("alone", "ceiling")
#: There is one operator.
OPERATOR = "aims_wrong"


class DoorStore(Store):
    """Outcomes at the door."""

    outcome = DoorOutcome


def path_of(folder: Path, method: str) -> Path:
    """Return the file of a method's results."""
    return folder / f"{PREFIX}{method}.json"


def section(folder: Path) -> str:
    """Return the part of RESULTS.md: all tables, or that nothing was run yet."""
    found = {p.stem.removeprefix(PREFIX): p for p in folder.glob(f"{PREFIX}*.json")}
    order = [m for m in WITHOUT_SENSORS if m in found]
    stores = {m: DoorStore(found[m], {}) for m in [*order, *sorted(found.keys() - {*order})]}
    title = "## Closed loop in another simulator: doors opened in robosuite"
    if not stores:
        return f"{title}\n\nNot run yet."
    about = (
        "`python -m benchmarks.door play METHODS`. Opened: robosuite's own measure, within 20 s. "
        "Shares with Wilson's 95 % interval; differences in points with a 95 % interval over "
        "attempts of one number, whose count stands behind. alone: the operator within the limits; "
        "ceiling: helped by the truth. [What is done](../docs/shared_autonomy.md)."
    )
    rows, differences = [], []
    for method, store in stores.items():
        for failure in FAILURES:
            outcomes = store.cells.get((failure, OPERATOR), {})
            if not outcomes:
                continue
            rows.append([method, failure, *_told(list(outcomes.values()))])
            if method not in WITHOUT_SENSORS:
                others = [stores[o].cells.get((ALIVE, OPERATOR), {}) for o in order]
                itself = failure == ALIVE
                others.append({} if itself else store.cells.get((ALIVE, OPERATOR), {}))
                told = [points(paired_difference(outcomes, other)) for other in others]
                differences.append([f"{method}, {failure}", *told])
    header = ["method", "failure", "opened", "median s", "gripper off across, median / 90 % [mm]"]
    header += ["belief off", "latents refused", "peak N"]
    parts = [title, about, table(header, rows)]
    if differences:
        against = [f"minus {other}" for other in (*order, "all alive")]
        parts += ["Points:", table(["method, failure", *against], differences)]
    return "\n\n".join(parts)


def paired_difference(
    ours: Mapping[int, DoorOutcome], theirs: Mapping[int, DoorOutcome]
) -> tuple[float, float, int]:
    """Return how much more we open, the half width of its 95 % interval, over how many numbers."""
    each = np.array(
        [float(ours[n].opened) - float(theirs[n].opened) for n in ours.keys() & theirs.keys()]
    )
    return mean_within(each)


def _told(found: Sequence[DoorOutcome]) -> list[str]:
    opened = Share.of_independent(sum(o.opened for o in found), len(found))
    times = [o.time_s for o in found if o.opened]
    refused = [o.refused for o in found if not math.isnan(o.refused)]
    return [
        opened.percent(),
        f"{np.median(times):.1f}" if times else "",
        _quantiles([o.placed_mm for o in found]),
        _quantiles([o.missed_mm for o in found]),
        f"{100 * np.mean(refused):.0f} %" if refused else "",
        f"{max(o.peak_n for o in found):.0f}",
    ]


def _quantiles(values: Sequence[float]) -> str:
    known = [v for v in values if not math.isnan(v)]
    return f"{np.median(known):.0f} / {np.quantile(known, 0.9):.0f}" if known else ""
