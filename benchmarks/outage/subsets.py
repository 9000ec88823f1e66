"""What a memory costs where nothing is remembered: every subset of one instant.

    python -m benchmarks.outage.subsets EPISODES --memory RUN --instant start=RUN longer=RUN

A run with memory beside single instants, such as the start that it began with. Squared error of
each image, per subset, memory over instant, paired by held-out trajectory. It is worse where the
ratio exceeds 1 by more than one standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import parser_of, status_of
from benchmarks.outage.__main__ import RESULTS, write
from benchmarks.robots.missing_records import errors, mean_ratio
from smvae_training.hardware import source_version, versions
from smvae_training.run import Run, load_run, split_episodes
from smvae_training.trainer import prepare_data

NAME = "outage-subsets.json"
#: Image -> subset -> error (T,) of each held-out trajectory.
Errors = Mapping[str, Mapping[str, NDArray[np.float64]]]


def named(text: str) -> tuple[str, Path]:
    """Return the name and the folder of an instant, given as NAME=RUN.

    Raises:
        argparse.ArgumentTypeError: If one of the two is missing.
    """
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"expected NAME=RUN, such as start=runs/a, got '{text}'")
    return name, Path(path)


def ratios(ours: Errors, theirs: Errors) -> dict[str, dict[str, Any]]:
    """Return image -> subset -> our error over theirs, mean and standard error, and the verdict.

    "all" is the mean over the subsets.
    """
    found: dict[str, dict[str, Any]] = {}
    for image, subsets in ours.items():
        pairs = {name: (error, theirs[image][name]) for name, error in subsets.items()}
        sums = [np.sum([pair[side] for pair in pairs.values()], axis=0) for side in (0, 1)]
        found[image] = {
            name: _ratio(a, b) for name, (a, b) in (pairs | {"all": (sums[0], sums[1])}).items()
        }
    return found


def _ratio(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> dict[str, Any]:
    ratio = mean_ratio(ours, theirs)
    return {**ratio, "worse": ratio["mean"] > 1.0 + ratio["standard_error"]}


def spelled(name: str, image: str, subset: str, ratio: Mapping[str, Any]) -> str:
    """Return one line of the result."""
    worse = "  WORSE" if ratio["worse"] else ""
    return (
        f"{image:6} {subset:24} over {name}: {ratio['mean']:.3f} ± "
        f"{ratio['standard_error']:.3f}{worse}"
    )


def about(run: Run) -> dict[str, Any]:
    """Return how long a run trained, and how it pools."""
    return {"steps": run.record.step, "pooling": run.model_config.pooling}


def main() -> None:
    """Score the runs, print and write the ratios."""
    parser = parser_of("benchmarks.outage.subsets", __doc__)
    parser.add_argument("episodes", type=Path, help="folder of `smvae simulate`")
    parser.add_argument("--memory", type=Path, required=True, help="finished run with memory")
    parser.add_argument(
        "--instant", type=named, nargs="+", required=True, help="NAME=RUN of runs without"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / NAME)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = load_run(given.memory)
    data = prepare_data(run.config, given.episodes)
    held_out = split_episodes(run.config, data).held_out
    ours = errors(given.memory, data, held_out)
    result: dict[str, Any] = {"code": source_version(), "versions": versions()}
    result["memory"] = about(run) | {"own_steps": run.config.max_steps}
    for name, path in given.instant:
        found = ratios(ours, errors(path, data, held_out))
        result[name] = about(load_run(path)) | {"ratio": found}
        for image, subsets in found.items():
            print("\n".join(spelled(name, image, s, r) for s, r in subsets.items()), flush=True)
    write(given.out, result)


if __name__ == "__main__":
    sys.exit(status_of("benchmarks.outage.subsets", main))
