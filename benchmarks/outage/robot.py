"""What a model still knows of the images when the cameras of a recorded robot are lost.

    smvae robot scaffold RECORDINGS -o robot.yaml
    smvae episodes RECORDINGS --robot robot.yaml --out EPISODES
    python -m benchmarks.outage.robot EPISODES --runs RUNS

Preset `robot` of the declared sensors, with a memory and the pooling that it needs. Scored on
held-out episodes, as `benchmarks.outage` does: all cameras lost for 0.25 to 2 s with all else alive
and remembered, beside the last frame held, and beside the same run's single instant, which
remembers nothing. Errors of an image are over the training mean image's; differences are paired by
episode. The same of training episodes tells what was learned by heart. A run in RUNS is continued,
or scored if it is finished.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command import parser_of, status_of
from benchmarks.outage.__main__ import (
    AGES_S,
    RESULTS,
    held_frames,
    scores,
    table,
    trained,
    write,
)
from smvae_core.model.config import MemoryConfig
from smvae_datasets.recordings.folder import read_declaration
from smvae_training.config import TrainConfig
from smvae_training.evaluate.likelihood.summary import standard_error
from smvae_training.evaluate.measures import blind, images
from smvae_training.hardware import source_version, versions
from smvae_training.robot_preset import explain, robot
from smvae_training.run import split_episodes
from smvae_training.trainer import prepare_data

#: From this loss on memory must be better than the last frame held [s].
FROM_S = 0.5


def settings(episodes: Path, steps: int, seed: int) -> TrainConfig:
    """Return preset `robot` of the declared sensors, with a memory."""
    config = robot(read_declaration(episodes).modalities)
    return replace(
        config,
        model=replace(config.model, pooling="evidence", memory=MemoryConfig()),
        log=replace(config.log, tensorboard=False),
        max_steps=steps or config.max_steps,
        seed=seed,
    )


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], camera: str) -> dict[str, float]:
    """Return how much larger our error of an image is, mean and standard error over episodes."""
    a, b = (np.array(row["errors"][camera]["by_trajectory"]) for row in (ours, theirs))
    each = a - b
    return {"mean": float(each.mean()), "standard_error": standard_error(each)}


def verdict(
    rows: Sequence[Mapping[str, Any]],
    held: Sequence[Mapping[str, Any]],
    cameras: Sequence[str],
    others: Sequence[str],
) -> list[dict[str, Any]]:
    """Return by camera and length of the loss what memory is worth, and whether it holds."""
    named = {row["condition"]: row for row in rows}
    frames = {row["age_s"]: row for row in held}
    instant = named[f"{'+'.join(others)} of now"]
    found = []
    for camera in cameras:
        for age_s in AGES_S:
            memory = named[f"{'+'.join(cameras)} lost for {age_s:g} s"]
            over_held = difference(memory, frames[age_s], camera)
            over_instant = difference(memory, instant, camera)
            required = [over_instant, *([over_held] if age_s >= FROM_S else [])]
            found.append(
                {
                    "camera": camera,
                    "lost_s": age_s,
                    "memory": memory["errors"][camera]["mean"],
                    "minus_last_frame_held": over_held,
                    "minus_single_instant": over_instant,
                    "holds": all(d["mean"] + 2 * d["standard_error"] < 0 for d in required),
                }
            )
    return found


def spelled(row: Mapping[str, Any]) -> str:
    """Return one line of the verdict."""
    held, instant = (
        f"{row[name]['mean']:+.3f} ± {row[name]['standard_error']:.3f}"
        for name in ("minus_last_frame_held", "minus_single_instant")
    )
    return (
        f"{row['camera']} lost for {row['lost_s']:g} s: {row['memory']:.3f}, {held} than the last "
        f"frame held, {instant} than the single instant: {'holds' if row['holds'] else 'FAILS'}"
    )


def main() -> None:
    """Train what is not trained, score, write the results and the verdict."""
    parser = parser_of("benchmarks.outage.robot", __doc__)
    parser.add_argument("episodes", type=Path, help="folder of `smvae episodes`")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--name", default="robot", help="of the robot, in names of files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0, help="before memory's; 0 = preset robot's")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    config = settings(given.episodes, given.steps, given.seed)
    name = f"{given.name}.seed{given.seed}"
    run, cost = trained("memory", config, given.episodes, given.runs / name)
    data = prepare_data(run.config, given.episodes)
    parts = split_episodes(run.config, data)
    rows = []
    for row in scores(run, data):
        rows.append(row)
        print(table("memory", [row]), flush=True)
    held = list(held_frames(data, run))
    print(table("hold", held))
    cameras = [m.name for m in images(data.sensors)]
    judged = verdict(rows, held, cameras, blind(data.sensors))
    print("\n".join(spelled(row) for row in judged))
    learned = []
    for row in scores(run, data, training=True):
        learned.append(row)
        print(table("on training", [row]), flush=True)
    result = {
        "code": source_version(),
        "versions": versions(),
        "settings": explain(run.config),
        "steps": run.record.total_steps,
        "own_steps": run.config.max_steps,
        "seed": given.seed,
        "seconds": run.record.seconds,
        **cost,
        "batch_size": run.config.batch_size,
        "records": len(data),
        "training_episodes": len(np.unique(data.group[parts.train])),
        "held_out_episodes": len(np.unique(data.group[parts.held_out])),
        "rows": rows,
        "held": held,
        "rows_on_training_episodes": learned,
        "verdict": judged,
    }
    write(given.out / f"outage-{name}.json", result)


if __name__ == "__main__":
    sys.exit(status_of("benchmarks.outage.robot", main))
