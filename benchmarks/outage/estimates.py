"""How far estimates are off when cameras are lost and remembered, and whether they know it.

    smvae simulate NEW --episodes 20 --seed 1
    python -m benchmarks.outage.estimates RUN BUNDLE NEW

RUN decodes targets and has a memory, BUNDLE is its export; NEW calibrated
nothing. By the time since a loss, with all samples of the horizon remembered: median error, share
of numbers that are known, and share of these within their 90 % interval, with factors by subset
alone (as of moments without memory) and with those that the bundle has for memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import status_of
from benchmarks.outage.__main__ import (
    Condition,
    Embedded,
    references,
    write,
)
from smvae_core.bundle import Bundle
from smvae_core.estimate_calibration import EstimateCalibration
from smvae_core.estimates import Decoded, calibrated
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Dataset, Target
from smvae_datasets.vision_touch.prepared import prepare_episodes
from smvae_training.calibrate.estimates import HALF_WIDTH, decoded_targets
from smvae_training.evaluate.measures import images
from smvae_training.hardware import source_version, versions
from smvae_training.run import load_run

RESULTS = Path(__file__).parents[1] / "results" / "outage-estimates.json"
AGES_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
EVERY = 4


def cases(names: Sequence[str], cameras: Sequence[str], horizon_s: float) -> Iterator[Condition]:
    """Yield moments by themselves, and with memory: nothing lost, all cameras lost, the first."""
    alive = dict.fromkeys(names, (0.0, horizon_s))
    others = tuple(n for n in names if n not in cameras)
    yield Condition(name="all alive, nothing remembered", present=tuple(names), remembered={})
    yield Condition(name="all alive", present=tuple(names), remembered=alive)
    for lost in (tuple(cameras), tuple(cameras[:1])):
        for age_s in AGES_S:
            yield Condition(
                name=f"{'+'.join(lost)} lost for {age_s:g} s",
                age_s=age_s,
                present=tuple(n for n in names if n not in lost),
                remembered=alive | dict.fromkeys(lost, (age_s, horizon_s)),
            )
    history = {n: alive[n] for n in others}
    yield Condition(name=f"{'+'.join(others)}, cameras never", present=others, remembered=history)


def judged(
    target: DecodedTarget,
    decoded: Decoded,
    truth: Target,
    calibration: EstimateCalibration,
    rests_on: tuple[str, ...],
    *,
    remembering: bool,
) -> dict[str, list[float | None]]:
    """Return median errors, known shares, and shares inside, of each number (K,)."""
    found = []
    for value, covariance in zip(decoded.value, decoded.covariance, strict=True):
        deviation = np.sqrt(np.diagonal(covariance))
        factor = calibration.factor_of(rests_on, target.name, deviation, remembering=remembering)
        found.append(calibrated(target, value, covariance, factor, ""))
    error = np.abs(decoded.value - truth.values)
    std = np.stack([estimate.std for estimate in found])
    known = np.isfinite(std)
    inside = np.where(known, error <= HALF_WIDTH * std, False).sum(0) / known.sum(0).clip(1)
    return {
        "median_error": np.median(error, axis=0).tolist(),
        "known": known.mean(0).tolist(),
        "inside": [
            float(x) if k else None
            for x, k in zip(inside, np.atleast_1d(known.any(0)), strict=True)
        ],
    }


def rows(
    every: Embedded, at: NDArray[np.int64], calibration: EstimateCalibration
) -> Iterator[dict[str, Any]]:
    """Yield what is found in each case."""
    model, data = every.model, every.data
    memory = model.config.memory
    assert memory is not None
    cameras = [m.name for m in images(data.sensors)]
    for case in cases(model.names, cameras, memory.horizon_s):
        decoded = decoded_targets(model, every.posterior(at, case))
        rests_on = tuple(n for n in model.names if n in case.present or n in case.remembered)
        row: dict[str, Any] = {"condition": case.name, "age_s": case.age_s, "targets": {}}
        for target in model.config.targets:
            if target.binary:
                continue
            told = (target, decoded[target.name], data.targets[target.name].take(at))
            row["targets"][target.name] = {
                "by memory": judged(
                    *told, calibration, rests_on, remembering=bool(case.remembered)
                ),
                "by subset": judged(*told, calibration, rests_on, remembering=False),
            }
        yield row


def printed(row: Mapping[str, Any]) -> str:
    """Return a row as text."""
    parts = []
    for name, found in row["targets"].items():
        inside = ", ".join(
            "-" if x is None else f"{100 * x:.0f}" for x in found["by memory"]["inside"]
        )
        error = ", ".join(f"{1e3 * x:.1f}" for x in found["by memory"]["median_error"])
        parts.append(f"{name}: {error} e-3, inside {inside} %")
    return f"{row['condition']:40} " + "; ".join(parts)


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run with a memory and targets")
    parser.add_argument("bundle", type=Path, help="its export")
    parser.add_argument("new", type=Path, help="trajectories that calibrated nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    run, bundle = load_run(given.run), Bundle.load(given.bundle)
    data: Dataset = prepare_episodes(given.new, run.model_config.modalities, progress=False)
    at = references(data, np.arange(len(data)), EVERY)
    found = []
    for row in rows(Embedded(run, data), at, bundle.estimate_calibration()):
        found.append(row)
        print(printed(row), flush=True)
    about = {
        "bundle": bundle.sha256,
        "trajectories": len(np.unique(data.group[at])),
        "references": len(at),
        "fields": {t.name: t.names for t in run.model.config.targets if not t.binary},
        "code": source_version(),
        "versions": versions(),
    }
    write(given.out, about | {"rows": found})


if __name__ == "__main__":
    sys.exit(status_of("benchmarks.outage.estimates", main))
