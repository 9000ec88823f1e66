"""What the novelty score finds, and how often it cries wolf: one table and one JSON file.

    python -m benchmarks.suspects.novelty RUN --data EPISODES --test OTHERS --wide WIDE

RUN was trained on EPISODES, whose held-out part calibrates the score. OTHERS are episodes of the
same cell by another seed: their share above a threshold is the false alarm rate. Corruptions are
made of them, one sensor at a time, after resizing. WIDE are episodes of other labs (`smvae simulate
--variation wide`), where every sensor differs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables.markdown import table
from smvae_core.files import write_text
from smvae_core.kinds.signal import slowed
from smvae_core.modality import subset_name
from smvae_core.novelty.scale import Novelty
from smvae_core.subsets import evaluated_subsets
from smvae_datasets.vision_touch.prepared import prepare_episodes
from smvae_training.calibrate.novelty import statistics_of
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.exporting import calibrate_run
from smvae_training.run import Run, load_run

RESULTS = Path(__file__).parents[1] / "results" / "novelty.json"
Array = NDArray[Any]
Change = Callable[[Records, Array, np.random.Generator], Array]


def _covered(value: float) -> Change:
    """Cover a square of a quarter of the image with a constant."""

    def change(_: Records, x: Array, __: np.random.Generator) -> Array:
        side = x.shape[-1]
        square = slice(side // 4, side // 4 + side // 2)
        x[:, :, square, square] = value
        return x

    return change


def _noisy(scale: float) -> Change:
    def change(_: Records, x: Array, rng: np.random.Generator) -> Array:
        noisy = x + rng.normal(0.0, scale, x.shape)
        return noisy.clip(0, 255) if x.dtype == np.uint8 else noisy

    return change


def _biased(*newtons: float) -> Change:
    bias = np.array([*newtons, 0.0, 0.0, 0.0], np.float32)[:, None]
    return lambda _, x, __: x + bias


def _frozen(records: Records, x: Array, _: np.random.Generator) -> Array:
    """Repeat what the sensor showed `DELAY` records ago in the same episode."""
    rows = np.arange(len(x))
    before = np.maximum(rows - records_of(2.0), 0)
    same = records.group[before] == records.group[rows]
    return x[np.where(same, before, rows)]


def _elsewhere(records: Records, x: Array, rng: np.random.Generator) -> Array:
    """Show what the same sensor saw in another episode: a swapped cable."""
    rows = [rng.choice(np.flatnonzero(records.group != g)) for g in records.group]
    return x[np.array(rows)]


#: Sensor -> name of the fault -> what it does to prepared samples (N, *shape).
FAULTS: dict[str, dict[str, Change]] = {
    "rgb": {
        "blank": lambda _, x, __: x * 0,
        "noise of 5 %": _noisy(12.75),
        "a quarter covered": _covered(128),
        "at 60 % brightness": lambda _, x, __: x * 0.6,
        "red and blue swapped": lambda _, x, __: x[:, ::-1],
        "upside down": lambda _, x, __: x[:, :, ::-1, ::-1],
        "frozen 2 s ago": _frozen,
        "another cell's": _elsewhere,
    },
    "depth": {
        "blank": lambda _, x, __: x * 0,
        "noise of 2 cm": _noisy(0.02),
        "a quarter covered": _covered(0.2),
        "5 cm too far": lambda _, x, __: x + 0.05,
        "frozen 2 s ago": _frozen,
        "another cell's": _elsewhere,
    },
    "force": {
        "constant zero": lambda _, x, __: x * 0,
        "bias of 5 N": _biased(5.0, 0.0, 0.0),
        "bias of 20 N": _biased(20.0, 0.0, 0.0),
        "noise of 5 N": _noisy(5.0),
        "another cell's": _elsewhere,
        "at 100 Hz (no fault)": lambda _, x, __: slowed(x, 10),
    },
    "action": {
        "five times": lambda _, x, __: x * 5.0,
        "another cell's": _elsewhere,
    },
}
STEP_S, EVERY = 0.05, 2


def records_of(seconds: float) -> int:
    """Return how many of the thinned records a time spans."""
    return round(seconds / STEP_S / EVERY)


def faulty(records: Records, name: str, change: Change, seed: int) -> Records:
    """Return the records with one sensor's samples changed, in their own dtype."""
    x = records.prepared[name]
    changed = change(records, x.copy(), np.random.default_rng(seed)).astype(x.dtype)
    return replace(records, prepared={**records.prepared, name: np.ascontiguousarray(changed)})


class Bench:
    """A run with its calibrated score."""

    def __init__(self, run: Run, novelty: Novelty) -> None:
        self.run, self.novelty = run, novelty
        self.subsets = evaluated_subsets(run.model.names)

    def records(self, folder: Path) -> Records:
        """Return every other record of a folder of episodes."""
        config = self.run.config
        episodes = prepare_episodes(folder, config.model.modalities, action=config.data.action)
        index = np.arange(0, len(episodes), EVERY, dtype=np.int64)
        return Records.of(episodes, index, len(index))

    def scores(self, records: Records) -> dict[str, NDArray[np.float64]]:
        """Return the novelty (N,) of every subset."""
        found = statistics_of(Predictor(self.run.model, self.run.statistics, records))
        return {subset_name(s): self.novelty.score(s, found[subset_name(s)]) for s in self.subsets}

    def worst_trajectory(self, records: Records) -> dict[str, float]:
        """Return, per subset, the largest share above `error` within one trajectory."""
        groups = [records.group == g for g in np.unique(records.group)]
        return {
            subset: max(float(np.mean(values[g] >= self.novelty.error)) for g in groups)
            for subset, values in self.scores(records).items()
        }

    def shares(self, records: Records, name: str = "") -> dict[str, dict[str, float]]:
        """Return the share above both thresholds, of subsets that hold the sensor `name`."""
        limits = {"warn": self.novelty.warn, "error": self.novelty.error}
        return {
            subset: {k: float(np.mean(values >= limit)) for k, limit in limits.items()}
            for subset, values in self.scores(records).items()
            if not name or name in subset.split("+")
        }


def measure(run: Run, data: Path, test: Path, wide: Path | None, seed: int = 0) -> dict[str, Any]:
    """Return all shares of one run."""
    started = time.perf_counter()
    novelty = calibrate_run(run, data)
    bench = Bench(run, novelty)
    records = bench.records(test)
    results: dict[str, Any] = {
        "model": {
            "side": max(m.shape[-1] for m in run.model_config.modalities if m.is_image),
            "latent_dim": run.model_config.latent_dim,
            "steps": run.record.step,
            "train_trajectories": len(run.record.train_trajectories),
        },
        "thresholds": {"warn": novelty.warn, "error": novelty.error},
        "calibration": dict(novelty.calibration),
        "test": {"records": len(records), "trajectories": len(np.unique(records.group))},
        "false_alarms": bench.shares(records),
        "false_alarms_worst_trajectory": bench.worst_trajectory(records),
        "faults": {
            name: {
                fault: bench.shares(faulty(records, name, change, seed), name)
                for fault, change in faults.items()
            }
            for name, faults in FAULTS.items()
            if name in run.model.names
        },
    }
    if wide is not None:
        results["other_labs"] = bench.shares(bench.records(wide))
    results["seconds"] = round(time.perf_counter() - started, 1)
    return results


def markdown(results: Mapping[str, Any]) -> str:
    """Return shares above the error threshold as a table: a line per fault, a column per subset."""
    names = list(results["faults"])
    everything = subset_name(tuple(names))
    rows = []

    def line(label: str, shares: Mapping[str, Any], alone: str) -> None:
        beyond = {subset: share["error"] for subset, share in shares.items()}
        best = [value for subset, value in beyond.items() if subset.count("+") == 1]
        span = f"{min(best):.3f} to {max(best):.3f}" if best else ""
        first = f"{beyond[alone]:.3f}" if alone in beyond else ""
        rows.append([label, first, span, f"{beyond[everything]:.3f}"])

    for name in names:
        line(f"none ({name})", results["false_alarms"], name)
    for name, faults in results["faults"].items():
        for fault, shares in faults.items():
            line(f"{name}: {fault}", shares, name)
    if "other_labs" in results:
        line("other labs", results["other_labs"], names[0])
    return table(["share above error", "the sensor alone", "with one other", "all"], rows)


def main(arguments: list[str] | None = None) -> None:
    """Run the measurement and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="episodes that RUN was trained on")
    parser.add_argument("--test", type=Path, required=True, help="episodes by another seed")
    parser.add_argument("--wide", type=Path, help="episodes of other labs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    results = measure(load_run(given.run), given.data, given.test, given.wide)
    write_text(given.out, json.dumps(results, indent=1) + "\n")
    print(markdown(results))


if __name__ == "__main__":
    main()
