"""The node for a long time: whether it grows, and whether a latent is lost.

    python -m benchmarks.live --soak 3600

All four sensors stream; one row per interval goes into `benchmarks/results/live-soak.json` while it
runs, so that a run that is cut short tells what it saw.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition

from benchmarks.live.cases import Case
from benchmarks.reliability import conditions
from benchmarks.reliability.node import NodeProcess, random_domain
from benchmarks.reliability.observer import Heard, Observer
from benchmarks.reliability.record import for_json
from benchmarks.reliability.sensors import Sensors
from smvae_core.files import write_text

#: A row is written so often [s]; rows of so long after the start say nothing of growth: a node that
#: is as large as it gets rises by 4 MB until then, and is flat from there on.
EVERY_S, SETTLE_S = 10.0, 120.0
#: Most that memory may grow in an hour [MB]; standard errors on both sides of it, see `leaks`. Two
#: would call noise a leak in 1 of 25 runs.
MOST_MB_PER_HOUR, ERRORS = 5.0, 3.0


class Counted:
    """Counts what latents say, and keeps none."""

    def __init__(self) -> None:
        self.latents = self.lost = 0
        self._place: tuple[int, int] | None = None
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def take(self, latents: Sequence[Heard]) -> None:
        """Count some more."""
        for heard in latents:
            message = heard.message
            place = message.epoch, message.sequence
            if self._place is not None and self._place[0] == place[0]:
                self.lost += place[1] - self._place[1] - 1
            self._place = place
            self.latents += bool(message.valid)
        for status in latents[-1].message.modalities if latents else ():
            self._first.setdefault(status.name, status.received)
            self._last[status.name] = status.received

    @property
    def received(self) -> dict[str, int]:
        """Messages of each sensor that the node took meanwhile."""
        return {name: last - self._first[name] for name, last in self._last.items()}


def growth(rows: Sequence[Mapping[str, float]], key: str) -> tuple[float, float]:
    """Return how much a figure grows in an hour after SETTLE_S, and its standard error.

    A straight line through the means of ten parts: what neighbouring rows share counts once.
    """
    settled = [row for row in rows if row["at_s"] >= SETTLE_S]
    parts = [part for part in np.array_split(np.arange(len(settled)), 10) if len(part)]
    if len(parts) < 4:
        return float("nan"), float("nan")
    at_h = np.array([np.mean([settled[i]["at_s"] for i in part]) for part in parts]) / 3600.0
    value = np.array([np.mean([settled[i][key] for i in part]) for part in parts])
    centred = at_h - at_h.mean()
    slope = float(centred @ value / (centred @ centred))
    rest = value - value.mean() - slope * centred
    error = float(np.sqrt(rest @ rest / (len(parts) - 2) / (centred @ centred)))
    return slope, error


def leaks(mb_per_hour: float, error: float) -> bool | None:
    """Return whether memory grows after the warm-up, None where the run was too short to tell.

    It does if it grows by more than MOST_MB_PER_HOUR beyond ERRORS standard errors, and it does
    not if it grows by less than that with as many added.
    """
    if mb_per_hour - ERRORS * error > MOST_MB_PER_HOUR:
        return True
    return False if mb_per_hour + ERRORS * error < MOST_MB_PER_HOUR else None  # NaN: None


def soak(case: Case, bundle: Path, log: Path, seconds: float, out: Path) -> dict[str, Any]:
    """Run the node for a time and return what is in the file."""
    parameters = {"bundle": bundle, "leave_out_suspects": False, **case.parameters}
    domain, counted, rows = random_domain(), Counted(), []
    told = {
        "case": {"sensors": case.sensors, "multiple": case.multiple, **case.parameters},
        **conditions.before(),
    }
    with (
        NodeProcess(domain, log, parameters) as node,
        Observer(domain, keep=10**5) as observer,
        Sensors(domain, size=(640, 480), multiple=case.multiple) as sensors,
    ):
        sensors.only(case.sensors)
        observer.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
        begun_s, spent_s = time.monotonic(), node.usage()["cpu_s"]
        while (at_s := time.monotonic() - begun_s) < seconds:
            observer.spin(min(EVERY_S, seconds - at_s))
            heard = [observer.latents.popleft() for _ in range(len(observer.latents))]
            counted.take(heard)
            at_s = time.monotonic() - begun_s
            rows.append({"at_s": at_s, "latents": counted.latents, **node.usage()})
            _write(out, told | _summary(rows, counted, spent_s) | {"rows": rows})
        told |= conditions.after()
        observer.change(Transition.TRANSITION_DEACTIVATE)
    told |= {"sent": sensors.sent, **_summary(rows, counted, spent_s)}
    _write(out, told | {"rows": rows})
    return told


def _write(out: Path, told: Mapping[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(for_json(told, digits=3), indent=1)
    write_text(out / "live-soak.json", f"{text}\n")


def _summary(
    rows: Sequence[Mapping[str, float]], counted: Counted, spent_s: float
) -> dict[str, Any]:
    settled = [row for row in rows if row["at_s"] >= SETTLE_S] or list(rows)
    mb, error = growth(rows, "anonymous_mb")
    figures: dict[str, Any] = {
        "seconds": rows[-1]["at_s"],
        "latents": counted.latents,
        "latents_lost": counted.lost,
        "received": counted.received,
        "cpu_per_latent_ms": 1e3 * (rows[-1]["cpu_s"] - spent_s) / max(counted.latents, 1),
        "anonymous_mb_per_hour": mb,
        "anonymous_mb_per_hour_error": error,
    }
    for key in ("rss_mb", "anonymous_mb", "threads", "descriptors"):
        values = [row[key] for row in settled]
        figures[f"{key}_first_last"] = [values[0], values[-1]]
        figures[f"{key}_least_most"] = [min(values), max(values)]
    more = any(
        figures[f"{key}_first_last"][1] > figures[f"{key}_first_last"][0]
        for key in ("threads", "descriptors")
    )
    figures["grows"] = True if more else leaks(mb, error)
    return figures
