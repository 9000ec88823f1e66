"""Does a model know how little it knows of the images when cameras are lost?

    smvae simulate NEW --episodes 100 --seed 7000
    python -m benchmarks.outage.coverage EPISODES NEW --run RUN --kind memory --seed 0

RUN is a finished run of `benchmarks.outage` on EPISODES; NEW was simulated for this alone. How many
pixels, and how many of the three numbers of the hole's offset, lie within their 90 % intervals,
with all alive and by the time since both cameras were lost: the mean over trajectories, and its
95 % interval. The offset is a ridge probe's on the latent, fitted on training records with all
alive; its variance is a constant and a share of what the latent's variance makes of it, both fitted
on training records, alive and after every loss alike: errors of latent dimensions covary, of which
a variance of each says nothing.

`factor`, one on all standard deviations whatever the age, makes the held-out records of EPISODES
90 %; `with_factor` is what it makes of the new ones. Of the latent after a loss
`moved_over_claimed` is the squared way of its mean to the one with all alive, over the variance
that the loss added; `error_over_claimed` is that way and the variance with all alive over the whole
variance. Both are 1 where a posterior knows how far it is off, and more where it is too sure.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import parser_of, status_of
from benchmarks.outage.__main__ import (
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
    settings,
    write,
)
from benchmarks.outage.start import load
from smvae_core.model.distributions import Posterior
from smvae_training.evaluate import probe
from smvae_training.evaluate.measures import images
from smvae_training.hardware import source_version, versions
from smvae_training.run import split_episodes
from smvae_training.trainer import prepare_data

#: Records between reference times of new trajectories (12 in each), and of held-out trajectories.
EVERY, FACTOR_EVERY, CHUNK = 16, 4, 64
SHARE = 0.9
#: What the mean, and what its 95 % interval must lie within.
MEAN, INTERVAL = (0.88, 0.92), (0.85, 0.95)


@dataclass(frozen=True)
class OffsetProbe:
    """What a latent says of the hole's offset, and how sure that is."""

    weights: probe.Map
    bias: probe.Map
    constant: probe.Map
    """Variance (3,) of what it misses, whatever the latent's variance is."""
    share: probe.Map
    """Of what the latent's variance makes of it, (3,)."""

    @classmethod
    def fit(
        cls, every: Embedded, records: NDArray[np.int64], cases: Sequence[Condition]
    ) -> OffsetProbe:
        """Fit it under the first condition, and its variance under all of them."""
        target = every.data.targets[TARGET].take(records)
        found = [every.posterior(records, case) for case in cases]
        weights, bias = probe.fit(TARGET, target, found[0].mean.numpy())
        missed = [probe.predict(q.mean.numpy(), weights, bias) - target.values for q in found]
        told = [q.variance.numpy() @ np.square(weights).T for q in found]
        variance = fit_variance(np.square(np.concatenate(missed)), np.concatenate(told))
        return cls(weights, bias, *variance)

    def deviations(self, q: Posterior, truth: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return by how many standard deviations (N, 3) it is off."""
        told = q.variance.numpy() @ np.square(self.weights).T
        missed = probe.predict(q.mean.numpy(), self.weights, self.bias) - truth
        return np.asarray(np.abs(missed) / np.sqrt(self.constant + self.share * told))


def fit_variance(
    squared: NDArray[np.float64], told: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return constant and share (K,) that make squared errors (N, K) likeliest as Gaussian ones.

    Their variances are constant + share told.
    """
    unit = torch.from_numpy(squared.mean(0))
    error, claim = torch.from_numpy(squared) / unit, torch.from_numpy(told) / unit
    logs = torch.full((2, squared.shape[1]), -1.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        constant, share = logs.exp()
        variance = constant + share * claim
        found = (variance.log() + error / variance).mean(0).sum()
        found.backward()
        return found

    optimizer.step(loss)
    constant, share = logs.detach().exp()
    return (constant * unit).numpy(), share.numpy()


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


def limits_of(
    every: Embedded, at: NDArray[np.int64], cases: Sequence[Condition], offset: OffsetProbe
) -> dict[str, float]:
    """Return by quantity how many standard deviations hold 90 % of its numbers, of all cases."""
    found: dict[str, list[NDArray[Any]]] = {}
    for case in cases:
        for name, off in deviations(every, at, every.posterior(at, case), offset):
            found.setdefault(name, []).extend(off)
    return {name: float(np.quantile(np.concatenate(x), SHARE)) for name, x in found.items()}


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
    parts = split_episodes(every.run.config, every.data)
    fitted_on = references(every.data, parts.held_out, FACTOR_EVERY)
    at = references(new.data, np.arange(len(new.data)), EVERY)
    group, cameras = new.data.group[at], [m.name for m in images(new.data.sensors)]
    memory = every.run.model_config.memory
    assert memory is not None
    found = conditions(every.model.names, cameras, memory.horizon_s)
    alive, lost = found[0], "+".join(cameras)
    cases = [alive, *(c for c in found if c.lost == lost and not c.newest)]
    offset = OffsetProbe.fit(every, references(every.data, parts.train, TRAIN_EVERY), cases)
    best = new.posterior(at, alive)
    limits = limits_of(every, fitted_on, cases, offset)
    for case in cases:
        row: dict[str, Any] = {"condition": case.name, "age_s": case.age_s}
        q = new.posterior(at, case)
        for name, off in deviations(new, at, q, offset):
            shares = [np.array([(x <= k).mean() for x in off]) for k in (DEVIATIONS, limits[name])]
            row[name] = judged(shares[0], group) | {
                "factor": limits[name] / DEVIATIONS,
                "with_factor": judged(shares[1], group),
            }
        if case is not alive:
            moved, known = (q.mean - best.mean).square().sum(), best.variance.sum()
            row["moved_over_claimed"] = float(moved / (q.variance.sum() - known))
            row["error_over_claimed"] = float((moved + known) / q.variance.sum())
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
    parser = parser_of("benchmarks.outage.coverage", __doc__)
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
    sys.exit(status_of("benchmarks.outage.coverage", main))
