"""Does a model know how little it knows of the images when cameras are lost?

    smvae simulate NEW --episodes 100 --seed 7000
    python -m benchmarks.outage_coverage EPISODES NEW --run RUN --kind memory --seed 0

RUN is a finished run of `benchmarks.outage` on EPISODES; NEW was simulated for this alone. How many
pixels, and how many of the three numbers of the hole's offset, lie within their 90 % intervals,
with all alive and by the time since both cameras were lost: the mean over trajectories, and its
95 % interval. The offset is a ridge probe's on the latent, fitted on training records with all
alive; its variance is what the probe missed there, and what the latent's variance makes of it.

Where it does not hold, why: `factor`, on all standard deviations, would make training records 90 %;
`with_factor` is what it makes of the new ones. `moved_over_claimed` is the squared way of the
latent's mean to the one with all alive over the variance that the loss added to the posterior:
1 where a posterior knows how far it will be off, more where it is too sure.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.outage import (
    DEVIATIONS,
    KINDS,
    RESULTS,
    TARGET,
    TRAIN_EVERY,
    Condition,
    Embedded,
    conditions,
    over_trajectories,
    references,
    reported,
    settings,
    write,
)
from benchmarks.outage_start import load
from smvae_core.model.distributions import Posterior
from smvae_training.evaluate import probe
from smvae_training.evaluate.measures import images
from smvae_training.hardware import source_version, versions
from smvae_training.run import split_episodes
from smvae_training.trainer import prepare_data

#: Records between reference times of new trajectories (12 in each), and of training trajectories.
EVERY, FACTOR_EVERY, CHUNK = 16, 24, 64
SHARE = 0.9
#: What the mean, and what its 95 % interval must lie within.
MEAN, INTERVAL = (0.88, 0.92), (0.85, 0.95)


@dataclass(frozen=True)
class OffsetProbe:
    """What a latent says of the hole's offset, and how sure that is."""

    weights: probe.Map
    bias: probe.Map
    missed: probe.Map
    """Variance (3,) of what it missed where it was fitted."""

    @classmethod
    def fit(cls, every: Embedded, records: NDArray[np.int64], alive: Condition) -> OffsetProbe:
        target = every.data.targets[TARGET].take(records)
        z = every.posterior(records, alive).mean.numpy()
        linear = probe.fit(TARGET, target, z)
        missed = np.square(probe.predict(z, *linear) - target.values).mean(0)
        return cls(*linear, missed)

    def deviations(self, q: Posterior, truth: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return by how many standard deviations (N, 3) it is off."""
        variance = self.missed + q.variance.numpy() @ np.square(self.weights).T
        missed = probe.predict(q.mean.numpy(), self.weights, self.bias) - truth
        return np.asarray(np.abs(missed) / np.sqrt(variance))


def deviations(
    every: Embedded, at: NDArray[np.int64], q: Posterior, offset: OffsetProbe
) -> Iterator[tuple[str, list[NDArray[Any]]]]:
    """Yield by how many standard deviations each quantity is off: its numbers, of every record."""
    for camera in images(every.data.sensors):
        found = []
        for start in range(0, len(at), CHUNK):
            rows = slice(start, start + CHUNK)
            part = Posterior(q.mean[rows], q.log_var[rows])
            off, seen = every.deviations(camera.name, part, at[rows])
            found += [x[s].numpy() for x, s in zip(off, seen, strict=True)]
        yield camera.name, found
    yield TARGET, list(offset.deviations(q, every.data.targets[TARGET].values[at]))


def judged(values: NDArray[np.float64], group: NDArray[np.int32]) -> dict[str, Any]:
    """Return mean coverage, its 95 % interval over trajectories, and whether both hold."""
    found = over_trajectories(values, group)
    mean, reach = found["mean"], 1.96 * found["se"]
    interval = [mean - reach, mean + reach]
    holds = MEAN[0] <= mean <= MEAN[1]
    holds &= INTERVAL[0] <= interval[0] and interval[1] <= INTERVAL[1]
    return {"mean": mean, "interval": interval, "holds": bool(holds)}


def scores(every: Embedded, new: Embedded) -> Iterator[dict[str, Any]]:
    """Yield a row per age."""
    train = split_episodes(every.run.config, every.data).train
    fitted_on = references(every.data, train, FACTOR_EVERY)
    at = references(new.data, np.arange(len(new.data)), EVERY)
    group, cameras = new.data.group[at], [m.name for m in images(new.data.sensors)]
    memory = every.run.model_config.memory
    assert memory is not None
    found = conditions(every.model.names, cameras, memory.horizon_s)
    alive, lost = found[0], "+".join(cameras)
    offset = OffsetProbe.fit(every, references(every.data, train, TRAIN_EVERY), alive)
    best = new.posterior(at, alive)
    for case in (alive, *(c for c in found if c.lost == lost and not c.newest)):
        row: dict[str, Any] = {"condition": case.name, "age_s": case.age_s}
        q = new.posterior(at, case)
        known = deviations(every, fitted_on, every.posterior(fitted_on, case), offset)
        limits = {name: float(np.quantile(np.concatenate(x), SHARE)) for name, x in known}
        for name, off in deviations(new, at, q, offset):
            shares = [np.array([(x <= k).mean() for x in off]) for k in (DEVIATIONS, limits[name])]
            row[name] = judged(shares[0], group) | {
                "factor": limits[name] / DEVIATIONS,
                "with_factor": judged(shares[1], group),
            }
        if case is not alive:
            moved = (q.mean - best.mean).square().sum()
            row["moved_over_claimed"] = float(moved / (q.variance - best.variance).sum())
        yield row


def line(row: Mapping[str, Any]) -> str:
    """Return a row as text."""
    parts = [f"{row['condition']:26}"]
    for name, found in row.items():
        if not isinstance(found, dict):
            continue
        low, high = (100 * x for x in found["interval"])
        off = 100 * (found["mean"] - SHARE)
        verdict = "holds" if found["holds"] else f"{off:+.1f}"
        after = found["with_factor"]
        parts.append(
            f"{name} {100 * found['mean']:.1f} ({low:.1f} to {high:.1f}) {verdict}, times "
            f"{found['factor']:.2f}: {100 * after['mean']:.1f}"
        )
    return "  ".join(parts)


def main() -> None:
    """Measure, print, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("episodes", type=Path, help="folder of `smvae simulate` RUN learnt from")
    parser.add_argument("new", type=Path, help="folder of `smvae simulate` it has never seen")
    parser.add_argument("--run", type=Path, required=True, help="a finished run with memory")
    parser.add_argument("--kind", choices=[k for k in KINDS if k != "instant"], default="memory")
    parser.add_argument("--seed", type=int, default=0, help="of the run, for the result's name")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = load(given.kind, given.run)
    if not run.record.finished or run.model_config.memory is None:
        parser.error(f"{given.run} is no finished run with memory")
    config = settings("instant", 1, 0)
    data, new = (prepare_data(config, path) for path in (given.episodes, given.new))
    if known := set(new.group_names) & {*run.record.train_trajectories}:
        parser.error(f"{given.new} is not new to the run: {min(known)} was trained on")
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in scores(Embedded(run, data), Embedded(run, new)):
        rows.append(row)
        print(line(row), flush=True)
    about = {"kind": given.kind, "seed": given.seed, "steps": run.record.step}
    about |= {"code": source_version(), "versions": versions()}
    about |= {"trajectories": len(new.group_names), "rows": rows}
    write(given.out / f"outage-coverage.seed{given.seed}.json", about)


if __name__ == "__main__":
    reported(main)
