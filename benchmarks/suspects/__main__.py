"""Which faults the suspects name, how soon, and how often they accuse a healthy sensor.

    python -m benchmarks.suspects BUNDLE --cells FOLDER --count 360 --seed 9000

Cells of the simulated robot that no training saw are played through a bundle's runtime at 5 Hz, as
a node does that judges 20 sensors per second. Each healthy cell counts alarms, and the moments of
which novelty refuses the set or leaves a sensor out. In the first cells a copy of what is known
until then meets each fault, at moments from which on the arm moves. A cell that was played is not
played again: results are kept beside the cells, and the table is made of what there is.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from benchmarks.closed_loop.report import Share
from benchmarks.suspects.cells import CELL_S, RATE_HZ, TIP, Cell, cells
from benchmarks.tables.markdown import table
from smvae_core.files import write_text
from smvae_core.novelty.odd_ones_out import Scored, rest, scored
from smvae_core.novelty.suspects import Suspects
from smvae_core.runtime import Runtime

RESULTS = Path(__file__).parents[1] / "results" / "suspects.json"
JUDGED_HZ = 20.0
#: A fault begins where the tip moves so far [m] within so long [s]; earliest starts in a cell [s].
MOVES_M, WITHIN_S, STARTS_S = 0.01, 2.0, (8.0, 18.0, 28.0)
Array = NDArray[Any]


def _frozen(x: Array, _: np.random.Generator) -> Array:
    return np.repeat(x[:1], len(x), axis=0)


def _covered(x: Array, _: np.random.Generator) -> Array:
    return np.full_like(x, 8)


def _half_covered(x: Array, _: np.random.Generator) -> Array:
    x = x.copy()
    x[..., : x.shape[-1] // 2] = 8
    return x


def _blank(x: Array, _: np.random.Generator) -> Array:
    return np.zeros_like(x)


def _biased(x: Array, rng: np.random.Generator) -> Array:
    """Add 10 N in a random direction."""
    way = rng.standard_normal(3)
    bias = np.zeros((1, 6, 1), x.dtype)
    bias[0, :3, 0] = 10.0 * way / np.linalg.norm(way)
    return x + bias


def _saturated(x: Array, rng: np.random.Generator) -> Array:
    """Hold one axis at its full scale, 130 N, without noise."""
    x = x.copy()
    x[:, rng.integers(3)] = 130.0 * rng.choice([-1.0, 1.0])
    return x


#: Name -> sensor, what becomes of its samples from the fault on, and the time to name it [s].
FAULTS: dict[str, tuple[str, Callable[[Array, np.random.Generator], Array], float]] = {
    "rgb: frozen": ("rgb", _frozen, 2.0),
    "depth: frozen": ("depth", _frozen, 2.0),
    "rgb: lens covered": ("rgb", _covered, 2.0),
    "rgb: half covered": ("rgb", _half_covered, 2.0),
    "depth: blank": ("depth", _blank, 2.0),
    "force: saturated": ("force", _saturated, 2.0),
    "force: bias of 10 N": ("force", _biased, 10.0),
}


class Player:
    """Plays cells through one runtime."""

    def __init__(self, runtime: Runtime, absent: tuple[str, ...] = ()) -> None:
        """Prepare.

        Args:
            runtime: Used by nobody else.
            absent: Sensors that are lost from the start.
        """
        self._runtime = runtime
        self._names = tuple(n for n in runtime.manifest.names if n not in absent)
        self.judging_s, self.moments = 0.0, 0

    def play(self, cell: Cell, seed: int, *, faults: bool = True) -> dict[str, Any]:
        """Return the alarms of a healthy cell, and what was named of each fault when.

        Args:
            cell: See `suspect_cells`.
            seed: Of the faults.
            faults: Whether it meets them, or alarms alone are counted.
        """
        suspects = Suspects(self._runtime)
        refused, left_out = 0, dict.fromkeys(self._names, 0)
        out: tuple[str, ...] = ()
        alarms: list[dict[str, Any]] = []
        most: dict[str, float] = dict.fromkeys(self._names, 0.0)
        trials: dict[str, list[dict[str, Any]]] = {}
        starts = self.starts(cell[TIP]) if faults else []
        for row in range(len(cell[TIP])):
            if row in starts:
                for number, (fault, (name, change, limit_s)) in enumerate(FAULTS.items()):
                    if name not in self._names:
                        continue
                    rng = np.random.default_rng([seed, row, number])
                    faulty = dict(cell)
                    faulty[name] = change(cell[name][row - 1 :], rng)
                    found = self._meet(suspects, faulty, name, row, limit_s)
                    trials.setdefault(fault, []).append(found)
            before = set(suspects.named)
            self._see(suspects, cell, row)
            left = rest(self._runtime, scored(self._runtime, self._names), out)
            refused, out = refused + self._refused(left.scored), tuple(left.left_out)
            for name in out:
                left_out[name] += 1
            for name in set(suspects.named) - before:
                reason = suspects.verdict(name).reason
                alarms.append({"sensor": name, "at_s": row / RATE_HZ, "reason": reason})
            for name in self._names:
                most[name] = float(np.fmax(most[name], suspects.verdict(name).suspicion))
        seconds = len(cell[TIP]) / RATE_HZ
        return {
            "seconds": seconds,
            "alarms": alarms,
            "most": most,
            "refused": refused,
            "left_out": left_out,
            "trials": trials,
        }

    def _refused(self, scored: Scored) -> bool:
        novelty = self._runtime.manifest.novelty
        return novelty is not None and scored.report.score > novelty.error

    def starts(self, tip: Array) -> list[int]:
        """Return the moments at which faults begin: the arm is about to move."""
        ahead = round(WITHIN_S * RATE_HZ)
        moved = np.linalg.norm(tip[ahead:, :3] - tip[:-ahead, :3], axis=1) > MOVES_M
        found = []
        for start_s in STARTS_S:
            rows = np.flatnonzero(moved[round(start_s * RATE_HZ) :]) + round(start_s * RATE_HZ)
            if len(rows) and rows[0] not in found:
                found.append(int(rows[0]))
        return found

    def _meet(
        self, suspects: Suspects, faulty: Cell, name: str, begin: int, limit_s: float
    ) -> dict[str, Any]:
        """Return when a faulty sensor and when another one is named first [s]; None = never."""
        runtime = self._runtime
        suspects = copy.deepcopy(suspects, {id(runtime): runtime})
        already = set(suspects.named)
        right_s: float | None = None
        wrong: list[str] = []
        last = min(begin + round(limit_s * RATE_HZ), len(faulty[TIP]))
        for row in range(begin, last):
            self._see(suspects, faulty, row, name, begin)
            after_s = (row + 1 - begin) / RATE_HZ
            wrong = sorted({*wrong, *suspects.named} - already - {name})
            if name in suspects.named:
                right_s = after_s
                break
        return {"right_s": right_s, "wrong": wrong, "already": sorted(already)}

    def _see(
        self, suspects: Suspects, cell: Cell, row: int, changed: str = "", begin: int = 0
    ) -> None:
        """Observe one moment; the arrays of a changed sensor begin one moment before the fault."""
        for name in self._names:
            at = row - begin + 1 if name == changed else row
            self._runtime.observe(name, cell[name][at], prepared=True)
        began_s = time.process_time()
        stamps_ns = dict.fromkeys(self._names, row + 1)
        suspects.renew(row / RATE_HZ, stamps_ns, JUDGED_HZ)
        self.judging_s += time.process_time() - began_s
        self.moments += 1


class Bench:
    """The cells of a seed, what came of them kept beside them."""

    def __init__(
        self, runtime: Runtime, folder: Path, seed: int, absent: tuple[str, ...] = ()
    ) -> None:
        self._runtime, self._folder, self._seed, self._absent = runtime, folder, seed, absent
        self._player = Player(runtime, absent)

    def play(self, number: int, *, faults: bool) -> None:
        """Play a cell unless it was played by this bundle; see `Player.play`."""
        kept = self._kept(number)
        if kept.exists():
            return
        (cell,) = cells(self._folder, [number], self._seed, self._runtime.modalities)
        before = self._player.judging_s, self._player.moments
        found = self._player.play(cell, self._seed + number, faults=faults)
        found["judging_s"] = self._player.judging_s - before[0]
        found["moments"] = self._player.moments - before[1]
        write_text(kept, json.dumps(found) + "\n")

    def results(self, count: int) -> dict[str, Any]:
        """Return what came of the first cells, of those that were played."""
        kept = [path for n in range(count) if (path := self._kept(n)).exists()]
        played = [json.loads(path.read_text(encoding="utf-8")) for path in kept]
        judging_s, moments = (sum(p[k] for p in played) for k in ("judging_s", "moments"))
        calibrated = self._runtime.manifest.suspicion
        return summary(played) | {
            "judging_ms_per_s": 1000.0 * judging_s / (moments / RATE_HZ),
            "judged_hz": JUDGED_HZ,
            "seed": self._seed,
            "absent": list(self._absent),
            "calibration": dict(calibrated.calibration) if calibrated is not None else {},
        }

    def _kept(self, number: int) -> Path:
        without = "".join(f"-{name}" for name in self._absent)
        return self._folder / (
            f"{self._runtime.bundle.sha256[:12]}{without}_s{self._seed}_{number:04d}.json"
        )


def most_per_hour(alarms: int, hours: float, confidence: float = 0.95) -> float:
    """Return the upper bound of a Poisson rate of which so many events were counted."""
    return float(chi2.ppf(confidence, 2 * alarms + 2)) / (2.0 * hours)


def summary(played: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return alarms and detections of all cells."""
    hours = sum(p["seconds"] for p in played) / 3600.0
    alarms = [a for p in played for a in p["alarms"]]
    found: dict[str, Any] = {
        "cells": len(played),
        "hours": hours,
        "alarms": alarms,
        "alarms_per_hour": len(alarms) / hours,
        "alarms_per_hour_at_most": most_per_hour(len(alarms), hours),
        "most_suspicion": {
            n: float(np.quantile([p["most"][n] for p in played], 1.0)) for n in played[0]["most"]
        },
        "novelty": {
            "moments": round(RATE_HZ * sum(p["seconds"] for p in played)),
            "refused": sum(p["refused"] for p in played),
            "left_out": {n: sum(p["left_out"][n] for p in played) for n in played[0]["most"]},
        },
        "faults": {},
    }
    for fault, (_, _, limit_s) in FAULTS.items():
        of_cell = [met for p in played if (met := p["trials"].get(fault))]
        if not of_cell:
            continue
        trials = [t for met in of_cell for t in met]
        named = Share.of_groups([[_right(t) for t in met] for met in of_cell])
        delays = [t["right_s"] for t in trials if _right(t)]
        found["faults"][fault] = {
            "within_s": limit_s,
            "trials": len(trials),
            "rightly_named": {
                "share": named.seated / named.attempts,
                "low": named.low,
                "high": named.high,
            },
            "another_named": sum(bool(t["wrong"]) for t in trials),
            "median_s": float(np.median(delays)) if delays else None,
        }
    return found


def _right(trial: Mapping[str, Any]) -> bool:
    """Return whether the faulty sensor was named, and no other before."""
    return trial["right_s"] is not None and not trial["wrong"]


def markdown(results: Mapping[str, Any]) -> str:
    """Return the detections as a table."""
    rows = []
    for fault, found in results["faults"].items():
        named = found["rightly_named"]
        rows.append(
            [
                fault,
                f"{found['within_s']:g} s",
                str(found["trials"]),
                f"{named['share']:.2f} ({named['low']:.2f} to {named['high']:.2f})",
                str(found["another_named"]),
                "" if found["median_s"] is None else f"{found['median_s']:.1f} s",
            ]
        )
    header = ["fault", "within", "trials", "rightly named", "another named", "median delay"]
    return table(header, rows)


def main(arguments: list[str] | None = None) -> None:
    """Play the cells, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--cells", type=Path, required=True, help="folder that keeps the cells")
    parser.add_argument("--count", type=int, default=360, help=f"cells of {CELL_S:g} s")
    parser.add_argument("--seed", type=int, default=9000)
    parser.add_argument("--absent", default="", help="sensors lost from the start, e.g. rgb")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--faulty", type=int, default=36, help="so many of them meet the faults")
    parser.add_argument("--part", default="0/1", help="play every N-th cell from K on, K/N, only")
    given = parser.parse_args(arguments)
    runtime = Runtime(given.bundle)
    absent = tuple(filter(None, given.absent.split(",")))
    first, every = map(int, given.part.split("/"))
    bench = Bench(runtime, given.cells, given.seed, absent)
    for number in range(first, given.count, every):
        bench.play(number, faults=number < given.faulty)
    results = bench.results(given.count)
    write_text(given.out, json.dumps(results, indent=1) + "\n")
    print(markdown(results))
    novelty = results["novelty"]
    print(
        f"of {novelty['moments']} healthy moments novelty refused {novelty['refused']}, left out "
        + ", ".join(f"{name} {count} x" for name, count in novelty["left_out"].items())
    )
    print(
        f"{len(results['alarms'])} alarms in {results['hours']:.2f} h: at most "
        f"{results['alarms_per_hour_at_most']:.2f} per hour (95 %)"
    )


if __name__ == "__main__":
    main()
