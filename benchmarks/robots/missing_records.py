"""What it costs to train on records with 30 % of their sensors missing at random.

    python -m benchmarks.robots.missing_records EPISODES

Per seed two models of equal settings and steps: one trained on complete records, one on the same
with holes. Both are scored on complete held-out records: squared error of RGB and depth, over all
subsets, as a ratio paired by trajectory. Seeds of the same settings that the file of results holds
already are kept, so that they can be trained one by one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from smvae_core.modality import all_subsets, subset_name
from smvae_datasets.dataset import Dataset
from smvae_datasets.vision_touch.prepared import PreparedEpisodes, prepare_episodes
from smvae_training.config import TrainConfig
from smvae_training.evaluate.likelihood.summary import standard_error
from smvae_training.evaluate.measures import squared_error
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.hardware import versions
from smvae_training.presets import preset
from smvae_training.run import RunPaths, load_run, split_episodes, write_text
from smvae_training.steps.subsets import generator
from smvae_training.trainer import train_on

RESULTS = Path(__file__).parents[1] / "results" / "missing_records.json"
#: Stream of random numbers of this benchmark, see `smvae_training.steps.subsets`.
MISSING_STREAM = 101
SHARE, LIMIT, MAX_RECORDS = 0.3, 1.05, 800


def with_holes(data: PreparedEpisodes, share: float, seed: int) -> PreparedEpisodes:
    """Return the records without a share of their sensors, drawn at random, one at least left."""
    rng = generator(seed, MISSING_STREAM)
    recorded = rng.random(data.recorded.shape) >= share
    empty = np.flatnonzero(~recorded.any(axis=1))
    recorded[empty, rng.integers(0, recorded.shape[1], len(empty))] = True
    return replace(data, recorded=recorded)


def errors(
    run: Path,
    data: Dataset,
    held_out: NDArray[np.int64],
    observed: Dataset | None = None,
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return image -> subset -> mean squared error (T,) of each held-out trajectory.

    `observed` are the same records as the model observes them, where they are not `data`.
    """
    loaded = load_run(run)
    records = Records.of(data, held_out, MAX_RECORDS)
    seen = records if observed is None else Records.of(observed, held_out, MAX_RECORDS)
    predictor = Predictor(loaded.model, loaded.statistics, seen)
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for modality in loaded.model_config.modalities:
        if not modality.is_image:
            continue
        truth = records.truth(modality)
        for subset in all_subsets(loaded.model.names):
            drawn = predictor.reconstruct(modality.name, predictor.posterior(subset).mean)
            (error,) = squared_error(modality, truth, drawn)
            means = [np.nanmean(error[records.group == g]) for g in np.unique(records.group)]
            found.setdefault(modality.name, {})[subset_name(subset)] = np.array(means)
    return found


def mean_ratio(ours: ArrayLike, theirs: ArrayLike) -> dict[str, float]:
    """Return our error over theirs, paired by trajectory (T,): mean and standard error."""
    each = np.asarray(ours, np.float64) / np.asarray(theirs, np.float64)
    return {"mean": float(each.mean()), "standard_error": standard_error(each)}


def compare(
    config: TrainConfig,
    data: PreparedEpisodes,
    seeds: Sequence[int],
    about: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield, after each seed, the error after training with holes over that without, per image.

    Args:
        config: Settings of both models.
        data: Complete records.
        seeds: To add to those of `before`.
        about: What else tells one comparison from another; it stands in the results.
        before: Results of an earlier call; its seeds count if settings and records are the same.
    """
    told = {
        **(about or {}),
        "share_missing": SHARE,
        "steps": config.max_steps,
        "records": len(data),
        "limit": LIMIT,
    }
    by_seed: dict[str, Any] = {}
    if before is not None and all(before.get(key) == value for key, value in told.items()):
        by_seed = dict(before.get("by_seed", {}))
    for seed in seeds:
        if str(seed) not in by_seed:
            by_seed[str(seed)] = _ratios(replace(config, seed=seed), data)
        rows = list(by_seed.values())
        yield told | {
            "seeds": [int(done) for done in by_seed],
            "ratio": {
                image: _summary([row["mean"][image] for row in rows]) for image in rows[0]["mean"]
            },
            "ratio_by_subset": {
                image: {
                    n: float(np.mean([row["by_subset"][image][n] for row in rows])) for n in subsets
                }
                for image, subsets in rows[0]["by_subset"].items()
            },
            "by_seed": by_seed,
        }


def _ratios(config: TrainConfig, data: PreparedEpisodes) -> dict[str, Any]:
    """Return the ratios of one seed: of each trajectory over all subsets, and of each subset."""
    held_out = split_episodes(config, data).held_out
    with tempfile.TemporaryDirectory() as folder:
        full, holes = (
            errors(
                train_on(config, records, RunPaths(Path(folder) / name), None, "benchmark"),
                data,
                held_out,
            )
            for name, records in (("full", data), ("holes", with_holes(data, SHARE, config.seed)))
        )
    every: dict[str, Any] = {"mean": {}, "by_subset": {}}
    for image, subsets in full.items():
        mean = [np.mean(list(found[image].values()), axis=0) for found in (holes, full)]
        every["mean"][image] = (mean[0] / mean[1]).tolist()
        every["by_subset"][image] = {
            subset: float((holes[image][subset] / error).mean())
            for subset, error in subsets.items()
        }
    return every


def _summary(found: list[list[float]]) -> dict[str, float]:
    """Return the mean over seeds and trajectories, with standard errors over each."""
    table = np.array(found)  # (seeds, trajectories)
    return {
        "mean": float(table.mean()),
        "standard_error_of_trajectories": standard_error(table.mean(0)),
        "standard_error_of_seeds": standard_error(table.mean(1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of episodes")
    parser.add_argument("--preset", default="demo", help="settings of the model")
    parser.add_argument("--steps", type=int, default=1500, help="training steps of each model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file, written by seed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = preset(arguments.preset)
    config = replace(config, max_steps=arguments.steps, log=replace(config.log, tensorboard=False))
    data = prepare_episodes(arguments.data, config.model.modalities, action=config.data.action)
    about = {"preset": arguments.preset, "versions": versions()}
    before = json.loads(arguments.out.read_text()) if arguments.out.is_file() else None
    for results in compare(config, data, arguments.seeds, about, before):
        write_text(arguments.out, json.dumps(results, indent=1) + "\n")
        print(json.dumps(results["ratio"], indent=1), flush=True)


if __name__ == "__main__":
    main()
