"""Train the learned baselines of the closed loop.

    smvae simulate EPISODES --preset demo --episodes 150
    python -m benchmarks.closed_loop.train EPISODES RUNS
    python -m benchmarks.closed_loop concat --bundle RUNS/concat --attempts 100

Methods: concat, router, oracle (six networks) and poe; what they are stands in
`benchmarks/closed_loop/baselines`. Each network takes as long as ours at most, about 3 minutes of a
core. What RUNS holds is not trained again, and what was stopped goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.closed_loop.baselines.networks import Supervised, objective
from benchmarks.closed_loop.baselines.product import mvae, of_product, product_of_experts
from benchmarks.closed_loop.baselines.trained import NETWORKS, calibrate
from benchmarks.command import parser_of, status_of
from benchmarks.robots.network_sizes import small_networks
from smvae_core.bundle import MANIFEST
from smvae_core.estimate_calibration import ESTIMATES
from smvae_core.modality import all_subsets, subset_name
from smvae_training.calibrate.estimates import MAX_RECORDS
from smvae_training.cli import configure_logging, quiet_lightning
from smvae_training.config import TrainConfig
from smvae_training.evaluate.records import Records
from smvae_training.exporting import export_run
from smvae_training.run import RunPaths, RunRecord, split_episodes
from smvae_training.trainer import prepare_data, train

METHODS = (*NETWORKS, "poe")
SENSORS = ("rgb", "depth", "force", "action")
#: What the deciding cells leave alive, each the subset of an oracle.
ALIVE: tuple[tuple[str, ...], ...] = (
    SENSORS,
    *(tuple(n for n in SENSORS if n != lost) for lost in SENSORS),
    ("force", "action"),
)


def settings(steps: int, seed: int) -> TrainConfig:
    """Return the settings of ours, as docs/shared_autonomy.md trains it."""
    config = small_networks()
    return replace(
        config,
        data=replace(config.data, targets=("all",)),
        log=replace(config.log, tensorboard=False),
        max_steps=steps,
        seed=seed,
    )


def trained(
    config: TrainConfig, data: Path, run: Path, build: Callable[[TrainConfig], Any]
) -> None:
    """Train a run, or the rest of it."""
    paths = RunPaths(run)
    if paths.config.is_file() and RunRecord.read(paths.config).finished:
        return
    print(f"training {run}", flush=True)
    train(config, data, run, resume=paths.begun, build=build)


def _built(network: type[Supervised], loss: Any, config: TrainConfig) -> Any:
    return network(config.model), loss


def make(method: str, config: TrainConfig, data: Path, out: Path) -> None:
    """Train, calibrate, and for `poe` export, what is missing of one method.

    Each has decoders of its own, or none: they do not learn on after the last step.
    """
    config = replace(config, data=replace(config.data, decode_on=0.0))
    if method == "poe":
        product = replace(config, model=of_product(config.model))
        run = out.with_name(f"{out.name}-run")
        trained(product, data, run, lambda c: (product_of_experts(c.model), mvae))
        if not (out / MANIFEST).is_file():
            export_run(run, out, name="poe", data=data)
        return
    network = NETWORKS[method]
    asked = [(s,) for s in ALIVE] if method == "oracle" else [tuple(all_subsets(SENSORS))]
    for subsets in asked:
        only = subsets[0] if method == "oracle" else None
        run = out / (subset_name(only) if only else "any")
        loss = partial(objective, only=only)
        trained(config, data, run, partial(_built, network, loss))
        if not (run / ESTIMATES).is_file():
            records = prepare_data(config, data)
            held_out = split_episodes(config, records).held_out
            calibrate(run, method, Records.of(records, held_out, MAX_RECORDS), subsets)


def main(argv: list[str] | None = None) -> int:
    """Train what is asked for, and say how to play it."""
    parser = parser_of("benchmarks.closed_loop.train", __doc__)
    parser.add_argument("episodes", type=Path)
    parser.add_argument("runs", type=Path, help="folder of what is trained")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=[*METHODS])
    parser.add_argument("--steps", type=int, default=5000, help="of each training")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    configure_logging(verbose=False)
    quiet_lightning()
    config = settings(given.steps, given.seed)

    def work() -> None:
        for method in given.methods:
            make(method, config, given.episodes, given.runs / method)
            print(f"python -m benchmarks.closed_loop {method} --bundle {given.runs / method}")

    return status_of("closed_loop.train", work)


if __name__ == "__main__":
    sys.exit(main())
