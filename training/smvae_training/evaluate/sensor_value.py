"""What each sensor is worth: errors with all, without it and from it alone, paired over groups.

N records, K numbers of a target. A target is a sensor, as decoded, or one of the data's targets, as
probed. Its error is relative: of an image the mean squared error, of other sensors and numbers
squared errors over their variance, of what is binary the squared error of the probability.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr

from smvae_core.modality import Modality, subset_name
from smvae_datasets.dataset import Target
from smvae_training.evaluate.likelihood.summary import standard_error
from smvae_training.evaluate.measures import finite_mean, images, measured, squared_error
from smvae_training.evaluate.probe import Map
from smvae_training.evaluate.ratios import Ratio, paired_ratio
from smvae_training.evaluate.records import Array

Errors = NDArray[np.float64]
#: Stands among the subsets for the best guess without any sensor.
CONSTANT = "training mean"
#: Share that an interval is made for, and the fewest groups that one is tested on.
COVERED, LEAST_GROUPS = 0.9, 3


def telling_subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return each sensor alone, all but each one, and all."""
    rest = [tuple(n for n in names if n != name) for name in names]
    chosen = [*((n,) for n in names), *(r for r in rest if len(r) > 1), names]
    return list(dict.fromkeys(chosen))


def sensor_errors(modality: Modality, truth: Array, predicted: Array) -> Errors:
    """Return the error (N,) of what is predicted of a sensor; NaN where nothing was."""
    if images([modality]):
        return squared_error(modality, truth, predicted)[0]
    seen = measured(modality, truth) & np.isfinite(truth)
    axes = (0, *range(2, truth.ndim))
    with np.errstate(invalid="ignore"):
        known = np.where(seen, truth, np.nan)
        count = np.maximum(seen.sum(axis=axes, keepdims=True), 1)
        centred = known - np.nansum(known, axis=axes, keepdims=True) / count
        variance = np.nansum(np.square(centred), axis=axes, keepdims=True) / count
        each = np.square(predicted - truth, dtype=np.float64) / np.where(variance > 0, variance, 1)
    rows = each.reshape(len(each), -1)
    counted = seen.reshape(len(seen), -1)
    total = np.where(counted, rows, 0.0).sum(axis=1)
    return np.where(counted.any(axis=1), total / np.maximum(counted.sum(axis=1), 1), np.nan)


def target_errors(target: Target, predicted: Map) -> Errors:
    """Return the error (N,) of a probe's predictions (N, K), log odds of a binary target."""
    truth = np.asarray(target.values, np.float64)
    if target.binary:
        probability = 0.5 * (1.0 + np.tanh(0.5 * predicted))
        return np.asarray(np.square(probability - truth).mean(axis=1))
    spread = np.nanvar(truth, axis=0)
    return np.asarray((np.square(predicted - truth) / np.where(spread > 0, spread, 1)).mean(axis=1))


def constant_of(train: Target, count: int) -> Map:
    """Return the prediction (N, K) of who sees nothing: the training mean, or its log odds."""
    mean = np.nanmean(np.asarray(train.values, np.float64), axis=0)
    if train.binary:
        share = np.clip(mean, 1e-6, 1 - 1e-6)
        mean = np.log(share / (1 - share))
    return np.broadcast_to(mean, (count, len(mean)))


class SensorValue:
    """Gathers the errors of every subset, record by record."""

    def __init__(self, names: tuple[str, ...], group: NDArray[np.int32]) -> None:
        """Start empty, for sensors `names` and records of groups (N,)."""
        self.names, self._group = names, group
        self._errors: dict[str, dict[str, Errors]] = {}
        self._apart: dict[str, dict[str, NDArray[np.float64]]] = {}
        self._unsure: dict[str, NDArray[np.float64]] = {}

    def add(self, subset: str, target: str, errors: Errors) -> None:
        """Take the errors (N,) of one target from one subset."""
        self._errors.setdefault(subset, {})[target] = errors

    def add_apart(self, subset: str, target: str, apart: NDArray[np.float64]) -> None:
        """Take by how much (N, K) predictions of a continuous target are off."""
        self._apart.setdefault(target, {})[subset] = apart

    def add_unsure(self, subset: str, log_var: Array) -> None:
        """Take the log variances (N, Z) of a subset's posterior."""
        self._unsure[subset] = np.asarray(log_var, np.float64).mean(axis=1)

    def numbers(self) -> dict[str, Any]:
        """Return what results.json says of the sensors."""
        targets = list(self._errors[subset_name(self.names)])
        return {
            "targets": {target: self._of_target(target) for target in targets},
            "loss": {name: self._loss(name, targets) for name in self.names},
            "coverage": {target: self._coverage(target) for target in self._apart},
            "unsure": {target: self._correlation(target) for target in targets},
        }

    def by_group(self, group_names: Sequence[str], truth: Mapping[str, Any]) -> dict[str, Any]:
        """Return the errors group by group, by which runs are compared.

        Args:
            group_names: Of all groups of the data.
            truth: Target -> array of what is predicted.
        """
        groups = np.unique(self._group)
        return {
            "names": [group_names[g] for g in groups],
            "records": [int((self._group == g).sum()) for g in groups],
            "truth": {name: _digest(values) for name, values in truth.items()},
            "errors": {
                subset: {
                    t: [finite_mean(e[self._group == g]) for g in groups] for t, e in found.items()
                }
                for subset, found in self._errors.items()
            },
        }

    def _of_target(self, target: str) -> dict[str, Any]:
        every = subset_name(self.names)
        return {
            "all": asdict(self._ratio(target, every, CONSTANT)),
            "alone": {n: asdict(self._ratio(target, n, CONSTANT)) for n in self.names},
            "without": {n: asdict(self._ratio(target, self._rest(n), every)) for n in self.names},
        }

    def _rest(self, name: str) -> str:
        """Return the subset without a sensor; of a single one nothing but the constant is left."""
        return subset_name(tuple(n for n in self.names if n != name)) or CONSTANT

    def _ratio(self, target: str, subset: str, reference: str) -> Ratio:
        ours, theirs = self._of(subset, target), self._of(reference, target)
        return paired_ratio(ours, theirs, self._group, np.ones(len(ours), bool))

    def _of(self, subset: str, target: str) -> Errors:
        """Return the errors (N,), NaN where the subset has no probe of the target."""
        return self._errors[subset].get(target, np.full(len(self._group), np.nan))

    def _loss(self, name: str, targets: Sequence[str]) -> dict[str, Any]:
        """Return by which share errors rise without a sensor: the mean over targets but itself.

        Targets are averaged within each group first, so that the standard error is over groups.
        """
        every, rest = subset_name(self.names), self._rest(name)
        wanted = [t for t in targets if t != name]
        rises = []
        for g in np.unique(self._group):
            rows = self._group == g
            of_group = []
            for target in wanted:
                pair = self._of(rest, target)[rows], self._of(every, target)[rows]
                both = np.isfinite(pair[0]) & np.isfinite(pair[1])
                if both.any():
                    of_group.append(pair[0][both].sum() / max(pair[1][both].sum(), 1e-12) - 1.0)
            if of_group:
                rises.append(float(np.mean(of_group)))
        return mean_with_error(rises)

    def _coverage(self, target: str) -> dict[str, dict[str, Any]]:
        """Return subset -> share of numbers inside an interval that other groups were 90 % in."""
        groups = np.unique(self._group)
        found = {}
        for subset, apart in self._apart[target].items():
            known = np.isfinite(apart).all(axis=1)
            shares = []
            for g in groups if len(groups) >= LEAST_GROUPS else ():
                mine, others = known & (self._group == g), known & (self._group != g)
                if mine.any() and others.any():
                    limit = np.quantile(apart[others], COVERED, axis=0)
                    shares.append(float((apart[mine] <= limit).mean()))
            found[subset] = mean_with_error(shares)
        return found

    def _correlation(self, target: str) -> float:
        """Return the rank correlation of uncertainty and error over records and subsets."""
        pairs = [(values, self._of(s, target)) for s, values in self._unsure.items()]
        unsure, error = (np.concatenate(each) for each in zip(*pairs, strict=True))
        both = np.isfinite(unsure) & np.isfinite(error)
        if both.sum() < 3 or np.ptp(unsure[both]) == 0.0 or np.ptp(error[both]) == 0.0:
            return math.nan
        return float(spearmanr(unsure[both], error[both]).statistic)


def mean_with_error(values: ArrayLike) -> dict[str, Any]:
    """Return mean, standard error and number of the finite values; NaN where there are too few."""
    found = np.asarray(values, np.float64)
    found = found[np.isfinite(found)]
    mean = float(found.mean()) if len(found) else math.nan
    return {"mean": mean, "standard_error": standard_error(found), "groups": len(found)}


def _digest(values: NDArray[Any]) -> str:
    shape = f"{values.shape} {values.dtype} ".encode()
    return hashlib.sha256(shape + np.ascontiguousarray(values).tobytes()).hexdigest()
