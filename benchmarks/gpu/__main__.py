"""Measure on a GPU: `scripts/gpu.sh` sets up and calls `python -m benchmarks.gpu`.

    scripts/gpu.sh --dry-run          # the plan, and what this machine lacks for it
    scripts/gpu.sh --work gpu         # about an hour; stopped and started again, it goes on

Preset `vision_touch` is trained at the size of the real data set, 150 trajectories of 1000 steps
and 200 epochs: once with a large batch, which shall take under 10 minutes, and once with the
preset's 128 for its held-out errors. The first run's bundle is loaded as on a robot and gives
latents on the CPU, on CUDA and on TensorRT. Writes benchmarks/results/gpu.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.command import parser_of, status_of
from benchmarks.gpu.checks import CHECKS, require_gpu
from benchmarks.gpu.providers import PARITY, measure, parity
from benchmarks.gpu.utilisation import Utilisation
from benchmarks.robots.missing_records import errors
from benchmarks.turns.machine import machine
from smvae_core.errors import SMVAEError
from smvae_core.files import write_text
from smvae_core.graphs.sessions import PROVIDERS
from smvae_datasets.dataset import holding
from smvae_training.evaluate.likelihood.summary import standard_error
from smvae_training.run import RunPaths, RunRecord, load_run
from smvae_training.trainer import prepare_data

RESULTS = Path(__file__).parents[1] / "results" / "gpu.json"
TRAINING_S = 600.0
REFERENCE_BATCH = 128
LATENTS = 1000


class Part(NamedTuple):
    """One part of the plan."""

    name: str
    what: str
    run: Callable[[argparse.Namespace], Any]


class PartFailed(SMVAEError, RuntimeError):
    """A command of the plan ended with an error."""


def simulate_command(given: argparse.Namespace) -> list[str]:
    """Return the command that makes the episodes that are not there yet."""
    count = ["--episodes", str(given.episodes), "--steps", str(given.steps)]
    return ["simulate", str(given.work / "episodes"), *count, "--workers", str(given.cores)]


def train_command(given: argparse.Namespace, batch: int) -> list[str]:
    """Return the command of one training; the rate grows with the root of the batch."""
    run = run_of(given, batch)
    command = ["train", "--data", str(given.work / "episodes"), "--out", str(run), "--no-report"]
    if RunPaths(run).begun:
        return [*command, "--resume"]
    rate = 1e-3 * math.sqrt(batch / REFERENCE_BATCH)
    settings = {
        "--preset": given.preset,
        "--epochs": given.epochs,
        "--batch-size": batch,
        "--optimizer.lr": f"{rate:.2g}",
        "--optimizer.warmup": min(500, given.epochs * 5),
        "--hardware.accelerator": given.accelerator,
        "--hardware.workers": max(0, given.cores - 2),
    }
    return [*command, *(str(each) for pair in settings.items() for each in pair)]


def run_of(given: argparse.Namespace, batch: int) -> Path:
    """Return the run folder of a batch size."""
    return Path(given.work / f"batch{batch}")


def smvae(arguments: list[str]) -> None:
    """Run an `smvae` command as a user does.

    Raises:
        PartFailed: If it fails.
    """
    done = subprocess.run([sys.executable, "-m", "smvae_training.cli", *arguments], check=False)
    if done.returncode:
        raise PartFailed(f"smvae {' '.join(arguments)}: exit status {done.returncode}")


def simulated(given: argparse.Namespace) -> dict[str, Any]:
    """Make the episodes that are not there yet."""
    smvae(simulate_command(given))
    return {"episodes": given.episodes, "steps": given.steps}


def trained(given: argparse.Namespace, batch: int) -> dict[str, Any]:
    """Train, watched, unless that was done; return how long it took and how busy the GPU was."""
    paths = RunPaths(run_of(given, batch))
    if paths.config.is_file() and RunRecord.read(paths.config).finished:
        return {}  # what was measured then stays
    with Utilisation() as watched:
        smvae(train_command(given, batch))
    record = RunRecord.read(paths.config)
    seen = record.step * batch
    return {
        "batch_size": batch,
        "steps": record.step,
        "seconds": record.seconds,
        "samples_per_s": seen / record.seconds,
        "gpu": watched.found,
        "precision": record.hardware["precision"],
        "met": record.seconds < TRAINING_S,
    }


def held_out_errors(given: argparse.Namespace) -> dict[str, Any]:
    """Return by image the errors of both runs over held-out trajectories, mean of all subsets."""
    runs = [run_of(given, batch) for batch in (REFERENCE_BATCH, given.batch_size)]
    run = load_run(runs[0])
    data = prepare_data(run.config, given.work / "episodes")
    held_out = run.split(data).held_out
    found: dict[str, Any] = {}
    small, large = (errors(each, data, held_out) for each in runs)
    for image in small:
        a, b = (np.mean(list(each[image].values()), axis=0) for each in (small, large))
        error = standard_error(a)
        found[image] = {
            "batch_128": [float(a.mean()), error],
            "large_batch": [float(b.mean()), standard_error(b)],
            "met": bool(b.mean() <= a.mean() + error),
        }
    return found


def exported(given: argparse.Namespace) -> dict[str, Any]:
    """Export the run of the large batch as a bundle."""
    run, bundle = run_of(given, given.batch_size), given.work / "bundle"
    smvae(["export", str(run), str(bundle), "--data", str(given.work / "episodes")])
    return {"bundle": bundle.name}


def providers(given: argparse.Namespace) -> dict[str, Any]:
    """Return of each provider where nodes run, parity with the CPU, p50 and p99 at batch 1."""
    run = load_run(run_of(given, given.batch_size))
    data = prepare_data(run.config, given.work / "episodes")
    rows = holding(data, run.split(data).held_out, [m.name for m in data.sensors])
    rows = rows[np.linspace(0, len(rows) - 1, min(given.latents, len(rows))).astype(np.int64)]
    samples = [{n: np.asarray(data.arrays[n][row]) for n in run.model.names} for row in rows]
    found: dict[str, Any] = {}
    exact: Mapping[str, Any] = {}
    for name in given.providers:
        measured = measure(given.work / "bundle", samples, name)
        exact = exact or measured
        moved = parity(exact, measured)
        kept = {k: v for k, v in measured.items() if k not in ("means", "variances", "subsets")}
        found[name] = kept | {"parity": moved, "met": max(moved.values()) < PARITY}
    return found | {"latents": len(samples)}


def plan(given: argparse.Namespace) -> list[Part]:
    """Return the parts in their order."""
    large, count = given.batch_size, f"{given.episodes} x {given.steps} x {given.epochs} epochs"
    return [
        Part(
            "episodes",
            f"smvae {' '.join(simulate_command(given))}",
            simulated,
        ),
        Part(
            "training",
            f"smvae {' '.join(train_command(given, large))}\n"
            f"    {count} in under {TRAINING_S:.0f} s; utilisation by nvidia-smi",
            lambda g: trained(g, g.batch_size),
        ),
        Part(
            f"training of batch {REFERENCE_BATCH}",
            f"smvae {' '.join(train_command(given, REFERENCE_BATCH))}",
            lambda g: trained(g, REFERENCE_BATCH),
        ),
        Part(
            "held-out errors",
            f"batch {large} within one standard error of batch {REFERENCE_BATCH}, each image",
            held_out_errors,
        ),
        Part("bundle", "smvae export of the large batch's run", exported),
        Part(
            "providers",
            f"{', '.join(given.providers)} through the bundle, no fallback allowed; every subset "
            f"within {PARITY:g} standard deviations of the first; p50 and p99 of {given.latents} "
            "latents at batch 1",
            providers,
        ),
    ]


def show(given: argparse.Namespace) -> None:
    """Print the plan, and of each check whether it is passed here."""
    print("checks:")
    for check in CHECKS:
        problem = check.problem()
        print(
            f"  {'missing' if problem else 'passed'}: {check.what}{f': {problem}' * bool(problem)}"
        )
    print("plan:")
    for number, part in enumerate(plan(given), 1):
        print(f"  {number}. {part.name}: {part.what}")
    print(f"  results: {given.out}")


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = parser_of("benchmarks.gpu", __doc__)
    add = parser.add_argument
    add("--dry-run", action="store_true", help="print the plan and the checks, measure nothing")
    add("--work", type=Path, default=Path("runs/gpu"), help="folder for episodes and runs")
    add("--episodes", type=int, default=150)
    add("--steps", type=int, default=1000, help="of each episode")
    add("--epochs", type=int, default=200)
    add("--batch-size", type=int, default=2048, help="of the fast training")
    add("--preset", default="vision_touch")
    add("--accelerator", default="gpu", choices=["gpu", "cpu"], help="cpu: to try the parts out")
    add("--providers", nargs="+", default=[*reversed(PROVIDERS)], choices=[*PROVIDERS])
    add("--latents", type=int, default=LATENTS, help="at batch 1, per provider")
    add("--cores", type=int, default=os.cpu_count() or 1, help="that simulate and load")
    add("--out", type=Path, default=RESULTS, help="JSON file, added to")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure and write; return the exit status."""
    given = arguments_of(argv)
    if given.dry_run:
        show(given)
        return 0

    def work() -> None:
        require_gpu()
        measure_all(given)

    return status_of("gpu", work)


def measure_all(given: argparse.Namespace) -> None:
    """Do every part and write what it gave; what a part gave before stays where it gives nothing.

    Raises:
        SMVAEError: If a part fails; those before it are written.
    """
    given.work.mkdir(parents=True, exist_ok=True)
    found = json.loads(given.out.read_text()) if given.out.is_file() else {}
    for part in plan(given):
        print(f"gpu: {part.name}", flush=True)
        found[part.name] = part.run(given) or found.get(part.name, {})
        found["machine"] = machine()
        write_text(given.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
