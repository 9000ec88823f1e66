"""How far off a model's estimates of its targets are, and whether they say so.

Held-out trajectories take turns: deviations of one half are calibrated on the other, so that the
coverage is that of trajectories which calibrated nothing. N records, K numbers of a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.estimates import Decoded, calibrated
from smvae_core.modality import subset_name
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Target
from smvae_training.calibrate.estimates import HALF_WIDTH, decoded_targets, factors
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.probe import SHOWN
from smvae_training.evaluate.records import Records

Array = NDArray[np.float64]


def target_scores(
    predictor: Predictor, records: Records, subsets: Sequence[tuple[str, ...]]
) -> dict[str, dict[str, Any]]:
    """Return the scores of every target from each subset."""
    model = predictor.model
    found: dict[str, dict[str, Any]] = {subset_name(s): {} for s in subsets}
    for subset in subsets if model.config.targets else ():
        label, decoded = subset_name(subset), decoded_targets(model, predictor.posterior(subset))
        for target in model.config.targets:
            truth = records.targets[target.name]
            value, std = halves(target, decoded[target.name], truth, records.group, label)
            found[label][target.name] = score(target, truth, value, std)
    return found


def halves(
    target: DecodedTarget,
    decoded: Decoded,
    truth: Target,
    group: NDArray[np.int32],
    label: str,
) -> tuple[Array, Array]:
    """Return values and deviations (N, K), each half of the groups calibrated on the other.

    Of a single group, on itself.
    """
    groups = np.unique(group)
    odd = np.isin(group, groups[1::2])
    value, std = np.full(decoded.value.shape, np.nan), np.full(decoded.value.shape, np.nan)
    for mine in (odd, ~odd):
        others = ~mine if len(groups) > 1 else mine
        rows = np.flatnonzero(others)
        part = Decoded(decoded.value[rows], decoded.covariance[rows])
        factor = factors(target, part, truth.take(rows))
        for row in np.flatnonzero(mine & np.isfinite(decoded.value).all(axis=1)):
            one = calibrated(target, decoded.value[row], decoded.covariance[row], factor, label)
            value[row], std[row] = one.value, one.std
    return value, std


def score(target: DecodedTarget, truth: Target, value: Array, std: Array) -> dict[str, Any]:
    """Return the scores of estimates (N, K) over the records that tell the target.

    Of each number: RMSE, median and 90th percentile of the absolute error, the share of 90 %
    intervals that hold, all over what is known; the share that is NaN, over all; `spread`, the RMSE
    of the training mean. Of a binary target the share that is right in their place.
    """
    rows = truth.known
    actual, told, deviation = truth.values[rows].astype(np.float64), value[rows], std[rows]
    numbers: dict[str, Array] = {"unknown": np.isnan(told).mean(axis=0)}
    if target.binary:
        right = np.where(np.isnan(told), np.nan, (told > 0.5) == (actual > 0.5))
        numbers["accuracy"] = _each(np.mean, right)
        always = (actual.mean(axis=0) > 0.5) == (actual > 0.5)
        numbers["accuracy_of_constant"] = np.asarray(always.mean(axis=0))
    else:
        unit, factor = SHOWN.get(target.unit, (target.unit.replace(" ", ""), 1.0))
        error = np.abs(told - actual)
        unsaid = np.isnan(error) | np.isnan(deviation)
        inside = np.where(unsaid, np.nan, error <= HALF_WIDTH * deviation)
        away = actual - np.array(target.mean)
        numbers |= {
            f"rmse_{unit}": factor * np.sqrt(_each(np.mean, np.square(error))),
            f"median_{unit}": factor * _each(np.median, error),
            f"p90_{unit}": factor * _each(lambda e: np.quantile(e, 0.9), error),
            f"spread_{unit}": factor * np.sqrt(np.square(away).mean(axis=0)),
            "coverage": _each(np.mean, inside),
        }
    return {
        key: dict(zip(target.names, map(float, values), strict=True))
        for key, values in numbers.items()
    } | {"records": int(rows.sum())}


def _each(of: Any, values: Array) -> Array:
    """Return a statistic of the known values of each number (K,); NaN where there are none."""
    known = [column[~np.isnan(column)] for column in values.T]
    return np.array([of(column) if len(column) else np.nan for column in known], np.float64)
