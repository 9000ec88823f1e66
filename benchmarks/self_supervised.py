"""What targets are worth that are computed from the sensors, where none was recorded.

    smvae simulate EPISODES --episodes 60
    python -m benchmarks.self_supervised EPISODES --runs RUNS

Preset `demo` without recorded targets: with each option of `data.self_supervised`, with all of them
and with none; equal records, batches and steps. Scored on the held-out trajectories: images; the
hole's offset and contact by linear probes of the latent, which read the recorded targets that no
training saw. What RUNS holds is not trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smvae_core.modality import subset_name
from smvae_datasets.dataset import Dataset
from smvae_datasets.vision_touch.prepared import prepare_episodes
from smvae_training.config import PAIRING, SelfSupervised, TrainConfig
from smvae_training.evaluate import probe
from smvae_training.evaluate.baselines import TrainingMean, training_mean
from smvae_training.evaluate.measures import images, squared_error
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.ratios import paired_ratio
from smvae_training.evaluate.records import Records
from smvae_training.evaluate.results import write_json
from smvae_training.evaluate.targets import target_scores
from smvae_training.hardware import source_version, versions
from smvae_training.presets import demo
from smvae_training.run import Run, RunPaths, load_run, split_episodes
from smvae_training.steps.callbacks import read_metrics
from smvae_training.steps.self_supervised import with_self_supervised
from smvae_training.trainer import train_on

RESULTS = Path(__file__).parent / "results" / "self-supervised.json"
#: What is compared, the baseline first.
OPTIONS: dict[str, tuple[SelfSupervised, ...]] = {
    "none": (),
    "contact": ("contact",),
    "motion": ("motion",),
    "pairing": ("pairing",),
    "all": ("contact", "motion", "pairing"),
}
#: What is observed.
SUBSETS = (("rgb", "depth", "force", "action"), ("rgb",), ("depth",), ("force", "action"))
#: Records that are scored at most, and that probes and mean images are fitted on.
SCORED, FITTED = 1500, 4000
#: Rows of the metrics whose mean is the likelihood of pairing at the end.
LAST = 10

Errors = dict[str, NDArray[np.float64]]


def settings(
    options: tuple[SelfSupervised, ...], steps: int, seed: int, config: TrainConfig
) -> TrainConfig:
    """Return the settings of one training."""
    data = replace(config.data, targets=(), self_supervised=options)
    log = replace(config.log, tensorboard=False)
    return replace(config, data=data, log=log, max_steps=steps, seed=seed)


def trained(config: TrainConfig, data: Dataset, folder: Path) -> tuple[Run, float | None]:
    """Return the run in a folder, and the CPU seconds of its training where that was not there."""
    seconds = None
    paths = RunPaths(folder)
    if not (paths.weights.is_file() and load_run(folder).record.finished):
        start = time.process_time()
        train_on(config, data, paths, None)
        seconds = time.process_time() - start
    return load_run(folder), seconds


class Scorer:
    """Scores runs on the same records, each beside the first one."""

    def __init__(self, data: Dataset, config: TrainConfig) -> None:
        """Choose the records, which every seed and option shares."""
        parts = split_episodes(config, data)
        self.data, self.held_out = data, parts.held_out
        self.test = Records.of(data, parts.held_out, SCORED)
        self.train = Records.of(data, parts.train, FITTED)
        self.means: dict[str, TrainingMean] = {
            m.name: training_mean(m, data, parts.train, FITTED) for m in images(data.sensors)
        }
        self.first: dict[str, Errors] = {}

    def scores(self, run: Run) -> dict[str, Any]:
        """Return the scores of a run by subset, and its errors over those of the first run."""
        computed = with_self_supervised(run.config, self.data)
        test = Records.of(computed, self.held_out, SCORED)
        ours = Predictor(run.model, run.statistics, test)
        fitting = Predictor(run.model, run.statistics, self.train)
        told = target_scores(ours, test, SUBSETS)
        found = {}
        for subset in SUBSETS:
            label = subset_name(subset)
            found[label], errors = self._subset(run, ours, fitting, subset)
            reference = self.first.setdefault(label, errors)
            rows = np.ones(len(test), np.bool_)
            found[label] |= {
                "over the first": {
                    name: asdict(paired_ratio(error, reference[name], test.group, rows))
                    for name, error in errors.items()
                },
                "computed": told[label],
            }
        return found

    def _subset(
        self, run: Run, ours: Predictor, fitting: Predictor, subset: tuple[str, ...]
    ) -> tuple[dict[str, Any], Errors]:
        mean = ours.posterior(subset).mean
        scores: dict[str, Any] = {}
        errors: Errors = {}
        for modality in images(run.model_config.modalities):
            truth = self.test.truth(modality)
            drawn = ours.reconstruct(modality.name, mean)
            errors[modality.name] = squared_error(modality, truth, drawn)[0]
            constant = squared_error(modality, truth, self.means[modality.name].mean)[0]
            scores[modality.name] = float(errors[modality.name].mean() / constant.mean())
        latents = fitting.posterior(subset).mean.numpy()
        for name in ("offset", "contact"):
            target, actual = self.train.targets[name], self.test.targets[name]
            value = probe.predict(mean.numpy(), *probe.fit(name, target, latents))
            scores[name] = probe.score(name, actual, value, mean.numpy())
            away = (value > 0) != (actual.values > 0) if actual.binary else value - actual.values
            errors[name] = np.square(away.astype(np.float64)).sum(axis=1)
        return scores, errors


def compare(
    data: Dataset, config: TrainConfig, steps: int, seed: int, runs: Path, kept: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the scores of one seed after every option; `kept` are those of before."""
    scorer, found = Scorer(data, config), dict[str, Any]()
    for name, options in OPTIONS.items():
        chosen = settings(options, steps, seed, config)
        run, seconds = trained(chosen, data, runs / f"{name}-{steps}-{seed}")
        found[name] = {
            "training_cpu_s": seconds or kept.get(name, {}).get("training_cpu_s"),
            "rules": {t.name: t.rule for t in run.model_config.targets},
            "subsets": scorer.scores(run),
        }
        if PAIRING in options:
            rows = read_metrics(RunPaths(run.path).metrics)
            told = [r[key] for r in rows if (key := f"log_likelihood/{PAIRING}") in r]
            found[name]["log_likelihood_of_pairing"] = float(np.mean(told[-LAST:]))
        yield found


def main() -> None:
    """Train what is missing, score, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("episodes", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = demo()
    data = prepare_episodes(given.episodes, config.model.modalities, progress=False)
    parts = split_episodes(config, data)
    results = json.loads(given.out.read_text()) if given.out.is_file() else {}
    results["settings"] = {
        "preset": "demo",
        "steps": given.steps,
        "batch_size": config.batch_size,
        "trajectories": len(data.group_names),
        "held_out_trajectories": len(np.unique(data.group[parts.held_out])),
        "records": len(data),
    }
    for seed in given.seeds:
        key = f"seed {seed}"
        before = results.get(key, {})
        for found in compare(data, config, given.steps, seed, given.runs, before):
            results[key] = found
            results["made by"] = {"source": source_version(), "versions": versions()}
            write_json(given.out, results)


if __name__ == "__main__":
    main()
