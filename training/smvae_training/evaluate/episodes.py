"""A run and its data -> results.json and report.html, in about a minute on two cores."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import Modality, subset_name
from smvae_core.subsets import FEW_SENSORS, evaluated_subsets
from smvae_datasets.dataset import Dataset, conditions
from smvae_datasets.recordings.folder import holds_episodes, message_counts
from smvae_datasets.sources import prepare_source
from smvae_training.evaluate.baselines import NearestRecord, training_mean
from smvae_training.evaluate.likelihood.summary import mean_and_error
from smvae_training.evaluate.measures import errors, images, similarity, squared_error
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.probe import probe
from smvae_training.evaluate.ratios import (
    REGIONS,
    Ratio,
    checks,
    paired_ratio,
)
from smvae_training.evaluate.records import Array, EvaluateConfig, Records, thin
from smvae_training.evaluate.results import REPORT, RESULTS, about_run, write_json
from smvae_training.evaluate.sensor_value import (
    CONSTANT,
    SensorValue,
    constant_of,
    sensor_errors,
    target_errors,
    telling_subsets,
)
from smvae_training.evaluate.targets import target_scores
from smvae_training.run import Run, RunPaths, load_run
from smvae_training.steps.self_supervised import with_self_supervised

logger = logging.getLogger(__name__)

#: Decoders times subsets of four sensors.
FOUR_SENSORS = 4 * 15
LEAST_LIKELIHOODS = 10


def evaluate(
    run: Path, data: Path, out: Path | None = None, config: EvaluateConfig | None = None
) -> dict[str, Any]:
    """Score a run on its held-out episodes; write results.json and report.html.

    Args:
        run: Folder of `smvae train`.
        data: The episodes that it was trained on; the run's own split decides who is held out.
        out: Where to write; `run/evaluation` by default.
        config: How much is scored.

    Returns:
        What results.json holds.

    Raises:
        RunError: If there is no trained model, or it was trained on other data.
        EpisodeError: If the episodes cannot be used.
    """
    from smvae_training.evaluate.report.sections import write_report

    loaded = load_run(run)
    modalities = loaded.model_config.modalities
    episodes = prepare_source("episodes", data, modalities, action=loaded.config.data.action)
    evaluation = Evaluation(loaded, episodes, config or EvaluateConfig())
    results = evaluation.results()
    results["data"]["messages"] = message_counts(data) if holds_episodes(data) else {}
    folder = out or RunPaths(run).evaluation
    write_json(folder / RESULTS, results)
    write_report(folder / REPORT, evaluation, results)
    return results


class Evaluation:
    """All scores of one run on one set of episodes."""

    def __init__(self, run: Run, episodes: Dataset, config: EvaluateConfig) -> None:
        """Choose the records, embed them, and measure the baselines' training statistics."""
        episodes = with_self_supervised(run.config, episodes)
        self.run, self.episodes, self.config = run, episodes, config
        self.modalities: tuple[Modality, ...] = run.model_config.modalities
        self.names = run.model.names
        self.subsets = evaluated_subsets(self.names)
        self.started = time.perf_counter()
        parts = run.split(episodes)
        self.leaks = parts.leaks
        self.held_out = parts.held_out
        self.records = Records.of(episodes, parts.held_out, config.max_records)
        self.train = Records.of(episodes, parts.train, config.train_records)
        rows, every = thin(len(self.records), self._likelihood_records())
        self.few_rows = rows
        self.few = self.records.take(rows, every * self.records.every)
        self.means = {
            m.name: training_mean(m, episodes, parts.train, config.mean_records)
            for m in self.modalities
        }
        self.predictor = self.predict(self.records)
        self.truth = {m.name: self.records.truth(m) for m in self.modalities}
        self.reference = {m.name: self._errors_of_mean(m) for m in images(self.modalities)}
        self.value = SensorValue(self.names, self.records.group)
        self.nearest = NearestRecord(self.modalities, run.statistics, self.train, self.records)

    def _likelihood_records(self) -> int:
        """Return how many records are decoded `samples` times for every subset.

        Of more sensors than have all their subsets scored only as many as keep the time that four
        sensors take, but no fewer than `LEAST_LIKELIHOODS`.
        """
        limit, decoded = self.config.likelihood_records, len(self.subsets) * len(self.names)
        if len(self.names) <= FEW_SENSORS:
            return limit
        return min(limit, max(LEAST_LIKELIHOODS, limit * FOUR_SENSORS // decoded))

    def predict(self, records: Records) -> Predictor:
        return Predictor(self.run.model, self.run.statistics, records)

    def results(self) -> dict[str, Any]:
        """Return everything that results.json holds."""
        seconds: dict[str, float] = {"prepare": time.perf_counter() - self.started}
        scores, ratios, nearest, nearest_ratios = self._score_subsets(seconds)
        requirements = checks(self.modalities, ratios)
        start = time.perf_counter()
        probes = self._probes()
        self._add_sensor_errors(CONSTANT, {n: m.mean for n, m in self.means.items()})
        seconds["probes"] = time.perf_counter() - start
        start = time.perf_counter()
        estimates = target_scores(self.predictor, self.records, self.subsets)
        seconds["estimates"] = time.perf_counter() - start
        seconds["total"] = time.perf_counter() - self.started
        return {
            **about_run(self.run),
            "data": self._data(),
            "settings": asdict(self.config),
            "seconds": seconds,
            "subsets": scores,
            "baselines": {"training_mean": self._mean_scores(), "nearest_record": nearest},
            "ratios": _plain(ratios),
            "nearest_record_ratios": _plain(nearest_ratios),
            "checks": requirements,
            "checks_passed": all(c["passed"] for c in requirements),
            "probe": probes,
            "estimates": estimates,
            "sensors": self.value.numbers(),
            "groups": self.value.by_group(self.episodes.group_names, self._targets()),
        }

    def _targets(self) -> dict[str, NDArray[Any]]:
        """Return all that is predicted, by name."""
        return self.truth | {n: t.values for n, t in self.records.targets.items()}

    def _data(self) -> dict[str, Any]:
        return {
            "fingerprint": self.run.record.data_fingerprint,
            "steps": len(self.episodes),
            "leaks": self.leaks,
            "held_out_trajectories": list(self.run.record.held_out_trajectories),
            "held_out_steps": len(self.held_out),
            "scored_records": len(self.records),
            "scored_every": self.records.every,
            "lacking": self._lacking(),
            "likelihood_records": len(self.few),
            "likelihood_every": self.few.every,
            "train_records": len(self.train),
            "train_every": self.train.every,
            "mean_records": next(iter(self.means.values())).records,
        } | {
            f"{name}_share": float(np.nanmean(target.values))
            for name, target in self.records.targets.items()
            if target.binary
        }

    def _lacking(self) -> dict[str, float]:
        """Return the share of scored records that lack each sensor, where any does."""
        shares = {n: 1.0 - float(self.records.holding([n]).mean()) for n in self.names}
        return {name: share for name, share in shares.items() if share}

    def _score_subsets(self, seconds: dict[str, float]) -> tuple[Any, Any, Any, Any]:
        """Return scores and ratios of the model, then of the nearest record, by subset."""
        scores: dict[str, Any] = {}
        ratios: dict[str, Any] = {}
        nearest: dict[str, Any] = {}
        nearest_ratios: dict[str, Any] = {}
        few = self.predict(self.few)
        seconds |= {"likelihoods": 0.0, "errors": 0.0, "nearest_record": 0.0}
        for subset in self.subsets:
            label = subset_name(subset)
            clock = time.perf_counter()
            likelihoods = self._likelihoods(few, subset)
            seconds["likelihoods"] += time.perf_counter() - clock
            clock = time.perf_counter()
            mean = self.predictor.posterior(subset).mean
            predicted = {n: self.predictor.reconstruct(n, mean) for n in self.names}
            scores[label], ratios[label] = self._score(predicted, subset)
            self._add_sensor_errors(label, predicted)
            for name in self.names:
                scores[label][name] = likelihoods[name] | scores[label][name]
            seconds["errors"] += time.perf_counter() - clock
            clock = time.perf_counter()
            copied = {m.name: self.nearest.predict(m, subset) for m in self.modalities}
            nearest[label], nearest_ratios[label] = self._score(copied, subset)
            seconds["nearest_record"] += time.perf_counter() - clock
        return scores, ratios, nearest, nearest_ratios

    def _likelihoods(
        self, few: Predictor, subset: Sequence[str]
    ) -> dict[str, dict[str, float | None]]:
        """Return by modality the mean log likelihood, and its standard error over trajectories."""
        posterior = few.posterior(subset)
        values = few.log_likelihood(posterior, self.config.samples, self.config.seed)
        found = {}
        for modality in self.modalities:
            held = few.holding([*subset, modality.name]).numpy()
            each = values[modality.name].numpy()[held].astype(np.float64) / modality.size
            told = mean_and_error(each, self.few.group[held])
            found[modality.name] = {
                "log_likelihood_per_dim": told["mean"],
                "log_likelihood_per_dim_standard_error": told["standard_error"],
            }
        return found

    def _score(
        self, predicted: dict[str, Array], subset: Sequence[str] = ()
    ) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, dict[str, Ratio]]]]:
        scores, ratios = {}, {}
        for modality in self.modalities:
            name = modality.name
            scores[name] = self._errors(modality, predicted[name], subset)
            if name in self.reference:
                ratios[name] = self._ratios(modality, predicted[name])
        return scores, ratios

    def _errors(
        self, modality: Modality, predicted: Array, subset: Sequence[str]
    ) -> dict[str, float]:
        """Return the errors over the records that hold the subset and the modality."""
        held = self.records.holding([*subset, modality.name])
        truth, few = self.truth[modality.name], self.few_rows[held[self.few_rows]]
        nothing = np.full((1, *modality.shape), np.nan, np.float32)
        scored = (truth[held], predicted[held]) if held.any() else (nothing, nothing)
        found = errors(modality, *scored)
        return found | similarity(modality, truth[few], predicted[few])

    def _errors_of_mean(self, modality: Modality) -> list[NDArray[np.float64]]:
        baseline = self.means[modality.name]
        regions = (None, baseline.varying)
        return squared_error(modality, self.truth[modality.name], baseline.mean, regions)

    def _ratios(self, modality: Modality, predicted: Array) -> dict[str, dict[str, Ratio]]:
        found: dict[str, dict[str, Ratio]] = {}
        name = modality.name
        regions = (None, self.means[name].varying)
        measured = squared_error(modality, self.truth[name], predicted, regions)
        for region, error, reference in zip(REGIONS, measured, self.reference[name], strict=True):
            for condition, rows in conditions(self.records.targets, len(self.records)).items():
                ratio = paired_ratio(error, reference, self.records.group, rows)
                found.setdefault(condition, {})[region] = ratio
        return found

    def _mean_scores(self) -> dict[str, dict[str, float]]:
        found = {}
        for modality in self.modalities:
            shape = self.truth[modality.name].shape
            predicted = np.broadcast_to(self.means[modality.name].mean, shape)
            found[modality.name] = self._errors(modality, predicted.copy(), ())
        return found

    def _probes(self) -> dict[str, Any]:
        """Return the probes of each sensor alone, of all but each one, and of all."""
        train, test = self.predict(self.train), self.records.targets
        found = {}
        for subset in telling_subsets(self.names):
            label, posterior = subset_name(subset), self.predictor.posterior(subset)
            mean = train.posterior(subset).mean.numpy()
            scores, predicted = probe(mean, self.train.targets, posterior.mean.numpy(), test)
            found[label] = scores
            self.value.add_unsure(label, posterior.log_var.numpy())
            for name, values in predicted.items():
                self.value.add(label, name, target_errors(test[name], values))
                if not test[name].binary:
                    self.value.add_apart(label, name, np.abs(values - test[name].values))
        for name in predicted:
            constant = constant_of(self.train.targets[name], len(self.records))
            self.value.add(CONSTANT, name, target_errors(test[name], constant))
        return found

    def _add_sensor_errors(self, label: str, predicted: Mapping[str, Array]) -> None:
        for modality in self.modalities:
            truth = self.truth[modality.name]
            errors = sensor_errors(modality, truth, predicted[modality.name])
            self.value.add(label, modality.name, errors)


def _plain(ratios: dict[str, dict[str, dict[str, dict[str, Ratio]]]]) -> dict[str, Any]:
    return {
        subset: {
            target: {
                condition: {region: asdict(ratio) for region, ratio in regions.items()}
                for condition, regions in conditions.items()
            }
            for target, conditions in targets.items()
        }
        for subset, targets in ratios.items()
    }
